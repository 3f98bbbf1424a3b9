// Package registry serves artifacts to the nodes of a cluster: the pull half of
// the OCI distribution specification 1.1 (end-1, end-2, end-3 and end-8a of its
// table), straight from the image layout that builds write.
//
//	GET /v2/                              who may pull gets 200, others 401
//	GET /v2/APP/tags/list                 ENVIRONMENT-vNUMBER of each release
//	GET /v2/APP/manifests/TAG or DIGEST
//	GET /v2/APP/blobs/DIGEST              also in ranges
//
// HEAD goes wherever GET does. Whoever pulls needs the pull token, as the password
// of Basic, which is what container runtimes send of a docker config, or as
// Bearer; it is good for nothing else. A digest is found only in the repository of
// an app that has a release of it. Blobs go from the disk to the connection; none
// is held in memory.
package registry
