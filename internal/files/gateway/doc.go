// Package gateway serves the shared folders as S3, and those that are public to
// the edge, in a process of its own.
//
//	S3 client ──▶ signature, chunks, XML      versitygw
//	                    │
//	              objects, listing, uploads   backend.go, object.go, list.go, upload.go
//	                    │
//	edge ──▶ public ──▶ folder                package files: names, quotas, whole files
//
// versitygw speaks the protocol. Its own file system backend is not used: it
// follows links that lead out of the tree, syncs nothing, serves one tree per
// process, and keeps temporary files where the app sees them.
//
// A bucket is a shared folder, an object a file. Credentials are those of an
// environment, and see its folders only; nothing is anonymous. What S3 has and
// a file system has not is refused: versions, policies, ACLs, tags, locks, and
// keys that are no paths (a//b, ../a, a and a/b at once).
package gateway
