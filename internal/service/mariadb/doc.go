// Package mariadb runs MariaDB as services of apps.
//
// In a server's folder lie, beside data, run and log:
//
//	platform.key   the password of the platform's own user, for its owner only
//	changes        finished binary logs that wait to be shipped (hard links)
//	changes.last   the newest that was put there
//
// The platform's user is known at the socket only, where names of users are
// localhost's: nothing else is, since names are not resolved. It has a password,
// and not the socket's own authentication, because the user that servers run as
// may have no name on the machine. Logins that were retired are locked and stay:
// views, triggers and routines go on with the rights of whoever made them.
//
// What is acknowledged is synced to disk, in the tables' log and the binary log;
// where a synchronous replica stands by it is in that one's relay log too.
//
//	Create          Restore, Fork, Upgrade             Follow
//	  ▼                ▼                                 ▼
//	data.new         data.new: unpacked, prepared,     data.new: unpacked, prepared,
//	  │              changed up to a time, all other   │         says whom it follows
//	  ▼              logins locked                     ▼
//	data ◀─────────────┘                              data
//	  ▼                                                ▼
//	primary ◀── Promote: what came is applied ─────── replica, joined when it is asked
//	                                                  whether it is ready
package mariadb
