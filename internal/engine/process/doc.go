// Package process runs instances as processes of this machine, each below a
// tiny init of its own that outlives the engine.
//
// An instance is in the hands of one goroutine (instance.run):
//
//	          start                ready                 unhealthy
//	prepare ────────▶ starting ────────────▶ ready ◀──────────────▶ unhealthy
//	                   ▲    │ too late         │ ends                 │
//	          back-off │    ▼                  ▼                      │
//	                   └─ crashed ◀────────────┘                      │
//	                        │                                         │
//	                        ▼  scale-in, removal, replacement         ▼
//	                       gone ◀── stopping ◀── retiring ◀───────────┘
//	                                SIGTERM,      let go by the edges
//	                                SIGKILL
//
// Its folder, instances/ID, is its memory:
//
//	spec.json   what it is; durable before anything is started; removed first
//	lock        locked by the init (an inherited file description): an instance
//	            lives if and only if its lock is held
//	state.json  the latest attempt: which process the init is, when it was ready
//	status      how the attempt ended, written by the init
//	retiring    it is to go: durable before the edges are asked
//	home/       $HOME and $TMPDIR
//	credentials/  where the file system with its credentials is, for itself alone;
//	            without mount namespaces they are in /dev/shm or $XDG_RUNTIME_DIR
//
// The engine may be killed between any two instructions. Whoever comes next
// reads the folders: a lock that is held by the process of state.json is an
// instance to adopt as it was; a lock that is held by anybody else is an init
// that was never told to go, and ends by itself; a lock that is free is an
// instance that has ended, and status says how. Nothing is started or stopped
// for a group before it has been applied or removed again.
package process
