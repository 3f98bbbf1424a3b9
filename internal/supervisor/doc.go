// Package supervisor is the parent of the platform on one machine. It is small,
// because nothing watches it but the service manager: it holds the public
// listening sockets, starts the control plane and the edge, and starts again
// what dies.
//
//	            ┌── tide control   (restarted when it dies; traffic goes on)
//	supervisor ─┼── tide edge      (has duplicates of the listening sockets)
//	            └── tide-init …    (re-parented here when the control plane dies)
//
// What keeps traffic going:
//
//   - A dead edge loses its open connections, never those that wait to be
//     accepted: the listening sockets are ours. A new edge has them within
//     milliseconds.
//   - SIGHUP replaces this process by the binary on disk in place: same PID,
//     same children, same sockets. Then the control plane is restarted, a new
//     edge accepts before the old one stops. If it does not, the old one stays.
//   - Killed with SIGKILL, the edge and the instances serve on. The next
//     supervisor takes the listening sockets back from the edge and adopts it, and
//     waits at its own end for those that drain.
//   - SIGTERM ends it all: no new connections, what is open ends, then the
//     instances, the control plane and the edge.
package supervisor
