// Package secret keeps what only a few may read: the secrets of environments,
// the passwords of services, the key of backups.
//
//	recovery key ── age ──▶ recovery.json       shown once; backups take the file along
//	                            │ holds, sealed
//	root key  ── root-key, a file that nobody else can read
//	   │ seals
//	   ├─▶ the platform's own key ── Seal, Open: whatever other parts keep
//	   └─▶ one key per environment
//	           │ seals, together with app|environment|name|version
//	           └─▶ versions of its secrets
//
// The keys lie in the store, sealed; the store without the root key tells nothing,
// nor does a row that was moved to another place. A version never changes and is
// never used twice: a release refers to it, so that a rollback brings the values
// back. Versions that no release has are forgotten a day after they were followed
// by another.
//
// The root key is changed in steps that can each be the last of a process:
//
//	root-key: old ──▶ new, old ──▶ new, old ──▶ new
//	store:    old      old          new          new
//
// For as long as the file has more than one, each is tried; whoever opens such a
// keyring takes the change to its end.
//
// A secret may be a reference to what lies elsewhere: vault://mount/path#key or
// aws-sm://name#key. It is resolved when an instance starts, and what was found
// is kept, sealed, for when the other place is away.
package secret
