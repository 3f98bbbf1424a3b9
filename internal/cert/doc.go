// Package cert makes what an edge needs for TLS: certificates and the keys of
// session tickets.
//
// Certificates for local names (and any other that has no public certificate)
// come from the machine's own [Authority]; [Trust] makes browsers and tools of
// the machine believe it. A [Keeper] has those of public names: from an ACME
// server, or files of somebody's own.
//
//	       no certificate ◀──────────────── a domain of an app, public
//	              │ at once
//	              ▼            fails: 10 min, doubling to 12 h, a fifth
//	┌──────▶ attempt ────────▶ more or less; the CA's Retry-After counts
//	│             │ ◀───────────────────────────────────┘
//	│             │ challenge in the table of every edge, then the CA looks
//	│             ▼
//	│         obtained, on disk, then in the table
//	│             │ 2/3 of its life and up to 1/15 more, or when the CA
//	└─────────────┘ suggests it (RFC 9773)
//
// Until there is one, the own authority's is served. One that was good stays when
// the next cannot be had, also beyond its end: then somebody is told loudly. A
// domain that no app has any more is not renewed. An attempt is written down
// before it is made; one whose end nobody knows is made again after 30 s, doubling.
package cert
