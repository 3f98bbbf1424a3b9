// Package moving is the file in which apps go from one platform to another, and
// the plan of what its import would do. It knows no engine and no database.
//
//	age, to recipients or a passphrase
//	└─ tar
//	   ├─ inventory.json        environments with their settings and releases, without secrets
//	   ├─ secrets.json          every version that a release has, in the clear
//	   └─ blobs/sha256/HEX …    the artifacts' parts, each once
//
// The inventory is first, so that a plan needs no more of a file than its
// beginning. Nothing is recorded before the last byte was read and found to be
// what was written: age sees to the whole, digests to each blob. Then one app after
// the other is recorded, each with all of its environments in one transaction:
//
//	file ──▶ blobs, aside ──▶ layout ──▶ environments, releases, secrets, rollouts ──▶ rolled out
//	         gone after a kill   collected      all or nothing                         goes on by itself
package moving
