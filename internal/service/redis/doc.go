// Package redis runs Valkey or Redis, version 7 or later, as services of apps.
//
// In a server's folder lie, beside data, run and log:
//
//	redis-server      a link to the program that the data was made by
//	platform.key      the password of the platform's own user, for its owner only
//	users.acl         all users, with digests of their passwords
//	replication.conf  the login with which a replica follows
//	following         of a replica: the folder of the primary that its data is from
//
// A server knows no connection by its socket alone, so the platform has a user
// of its own, whose password nobody but the platform can read. The default user
// is off. The app's user may do anything with its data, and nothing to the server.
//
// What is promised: every write is in the append-only file before it is
// acknowledged, or at most two seconds later where the disk is slow, and the file
// is synced every second. So a killed server loses nothing on a disk that keeps
// up, a power cut the last second.
//
//	Create, Restore, Fork          Follow
//	        ▼                        ▼
//	data.new ──▶ data            (data of another primary is removed)
//	        ▼                        ▼
//	     primary ◀── Promote ──── replica: it takes all data from the primary
package redis
