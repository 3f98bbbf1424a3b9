// Package cert makes what an edge needs for TLS: certificates and the keys of
// session tickets.
//
// Certificates for local names (and any other that has no public certificate)
// come from the machine's own [Authority]; [Trust] makes browsers and tools of
// the machine believe it. Whoever needs certificates declares one method:
//
//	Certificate(names []string) (springtide.Certificate, error)
//
// It gives a certificate that is valid now for all of the names, quickly when
// it was asked before, and is asked again for every routing table: that is how
// renewals get to the edges. An issuer of public certificates offers the same
// method beside Authority, and answers with an error of kind Unavailable for
// names it has no certificate for yet.
package cert
