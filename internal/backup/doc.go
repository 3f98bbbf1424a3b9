// Package backup keeps services, shared files and the platform's own state safe
// somewhere else, and brings them back.
//
//	service ── Driver.Backup, Dump ─┐
//	its log of changes, by segment ─┼─▶ zstd ─▶ age ─▶ Target: folder, SFTP, S3
//	the platform's state ───────────┘              │
//	shared files ── restic ────────────────────────┘
//
// # What is on a target
//
//	PLATFORM/APP/ENVIRONMENT/OF/manifests/ID              what a backup is; written last
//	PLATFORM/APP/ENVIRONMENT/OF/objects/ID/NAME           what it consists of
//	PLATFORM/APP/ENVIRONMENT/OF/changes/LINEAGE/SEGMENT   what has changed since: NUMBER-FINISHED-NAME
//
// Everything is sealed under its own name, so that nothing can be taken for
// something else, and is read back once it is written: a target that loses what
// it has acknowledged is found out at once.
//
// # A backup's life
//
//	begun ── objects put and read back ──▶ listed ── older than kept ──▶ unlisted ──▶ gone
//	  │                                   (its manifest is there)
//	  └─ killed: what it left is swept away after two days
//
// Each attempt of a run writes under an ID of its own: two attempts never touch
// each other's objects. What is older than it is to be kept, counted from the
// newest backup and never from now, goes: first its manifest, then its objects.
//
// # Lineages
//
// A lineage is the log of one server, from when it was made: the server of a
// restored service begins another one, even if its segments are called the same.
// Its name is in a file in the server's folder. The changes of a lineage apply
// to the backups of the same lineage only. Where changes had to be given up,
// since the target was away for too long, a new lineage begins with the next
// backup.
package backup
