// Package postgres makes and runs servers of PostgreSQL for apps.
//
// Everything is in the server's folder, of which only data is PostgreSQL's own:
//
//	data            made as data.new and renamed when it is whole and synced
//	run             the socket, by which the platform is the superuser (peer)
//	server.conf     what a running server may have to change; hba.conf, ident.conf
//	server.crt/key  for TLS, made once, signed by itself
//	changes         finished segments of the log, if somebody ships them
//
// How data comes to be, and what becomes of it:
//
//	Create ─ initdb ──────────────┐            ┌─ Settle: roles, database, extensions
//	Fork ─── copy of a running ───┤            │
//	Restore ─ unpack, check, ─────┼─▶ primary ─┴─ Rotate, Retire: two logins, one owner
//	          do the log again    │     ▲  │
//	Upgrade ─ pg_upgrade or dump ─┘     │  └──▶ Backup, Dump, Changes
//	                            Promote │
//	Follow ─ copy of the primary ─▶ replica, by a slot that keeps the log for it
//
// # Nothing acknowledged is lost
//
// With a synchronous standby the primary acknowledges nothing that is not on the
// standby's disk too. While the standby is away commits wait: the primary is never
// asynchronous by itself. Whoever runs it may settle it without a standby
// (Server.Standby), which lets go of those that wait, and must not promote the
// standby from then on before it has caught up. A client that gives up waiting
// gets a warning with its commit, as PostgreSQL does it. The setting is in a file,
// so that a primary that starts again waits from its first commit on.
//
// # The disk does not fill
//
// Every finished segment of the log is offered to archive_command, which keeps it
// only if somebody has asked for [Driver.Changes], and at most
// Options.ChangesLimit of them: then some are dropped, which Inspect shows until the next backup, and points in time
// after the gap can be reached only from that one. What a replica or a backup may
// keep is bounded by max_slot_wal_keep_size, temporary files by temp_file_limit.
//
// # What is written where
//
// No file holds a password: the server has SCRAM verifiers, made here, and a
// replica comes by the primary's socket as a user of the machine. When the
// platform is an ordinary user, so are the apps it runs, and nothing keeps them
// from that socket.
package postgres
