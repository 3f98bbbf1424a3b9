// Package kubernetes runs instances as pods of a cluster: a Deployment for each
// group, which is never changed but for its replicas. The cluster finds a place for
// a pod, starts its container again when it ends, and moves what a lost node had;
// which pod goes, and when, is decided here, so that edges have let go of it before.
//
// An instance is a pod, and is observed from its status:
//
//	            ready              not ready
//	starting ─────────▶ ready ◀─────────────▶ unhealthy
//	   ▲   │ ends         │ ends                  │ another is ready in its place
//	   │   ▼              │                       ▼
//	  crashed ◀───────────┘    scale-in ──▶  retiring ──▶ stopping ──▶ (gone)
//
// A retirement is in the hands of one goroutine (Engine.retire):
//
//	annotated   the pod says that it is to go, for whoever comes after this engine
//	let go      the edges have acknowledged, and its plain requests have ended
//	cheapest    the pod's deletion cost is below all others', and the Deployment gets
//	            one replica less: the cluster deletes exactly this one, or, if it
//	            chose another after all, it is deleted by name and replaced
//
// A Deployment has as many replicas as are wanted, and one more for each pod that is
// not let go yet and for each that waits for its replacement: it is unhealthy, or its
// node is about to go.
//
// Pods that others delete (a node is drained, a more important pod needs the room)
// get SIGTERM only after Options.LetGo, which the hook before the stop sleeps: time
// for the edges to let go as soon as the pod is seen to go.
//
// A task is a pod that never restarts, and a Secret of the same name, which outlives
// the pod and remembers what is known:
//
//	Secret       the task is known, with its command
//	pod, gated   the cluster does not start it
//	started      the Secret says so: from here on no other pod is made
//	gate open    the command may begin
//	ended        the Secret has the outcome
//
// All state is in the cluster, so the engine may be killed between any two
// instructions. While the API server is away, what was observed last stands, and
// what is to be done is tried until it succeeds.
package kubernetes
