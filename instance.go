package springtide

import "time"

// InstanceID names one running copy of a group, uniquely for ever:
// "web-3-k7f2q" is the process, the release and a random part.
type InstanceID string

// InstanceState is where an instance is in its life.
//
//	starting → ready ⇄ unhealthy → retiring → stopping → (gone)
//	    └────────┴──→ crashed → starting
type InstanceState string

// The states of an instance.
const (
	InstanceStarting  InstanceState = "starting"  // ordered; has not been healthy yet
	InstanceReady     InstanceState = "ready"     // may be given requests
	InstanceUnhealthy InstanceState = "unhealthy" // was ready; its liveness probe fails; being replaced
	InstanceRetiring  InstanceState = "retiring"  // gets no new request; finishes what it has
	InstanceStopping  InstanceState = "stopping"  // was sent SIGTERM
	InstanceCrashed   InstanceState = "crashed"   // ended by itself; starts again after a back-off
)

// Instance is one running copy, as its engine observes it.
type Instance struct {
	ID    InstanceID    `json:"id"`
	Group GroupID       `json:"group"`
	State InstanceState `json:"state"`
	// Address is "ip:port", where the instance listens; empty if it does not.
	Address string    `json:"address,omitempty"`
	Ordered time.Time `json:"ordered"`
	// Started is when the current attempt's process was started.
	Started time.Time `json:"started,omitzero"`
	// Ready is when it became ready; zero before.
	Ready    time.Time `json:"ready,omitzero"`
	Restarts int       `json:"restarts"`
	// CrashLoop says that it crashed three times or more without having been
	// ready for a minute.
	CrashLoop bool `json:"crash_loop,omitempty"`
	// Stuck says that it was never started, and that what it lacks is not likely to
	// come by itself: its image cannot be pulled.
	Stuck bool `json:"stuck,omitempty"`
	// Ejected is until when an edge gives it no requests, since it failed while
	// others did not; then it is tried again. Zero: it is not ejected.
	Ejected time.Time `json:"ejected,omitzero"`
	// Lost says that the machine it runs on does not answer its cluster. It may run on,
	// or be gone without a word.
	Lost bool `json:"lost,omitempty"`
	// Reason says why it is not ready: how it ended, what its probe answered.
	Reason string `json:"reason,omitempty"`
	// LastLines are the last lines it wrote before it ended; at most 20.
	LastLines []string `json:"last_lines,omitempty"`
	PID       int      `json:"pid,omitempty"`
}

// Snapshot is all that an engine observes at one moment.
type Snapshot struct {
	// Instances are in order of Group and ID.
	Instances []Instance `json:"instances"`
	// Capacity says why no further instance can be started now; empty if one can.
	Capacity string `json:"capacity,omitempty"`
}

// Of gives the instances of one group.
func (s Snapshot) Of(id GroupID) []Instance {
	var own []Instance
	for _, i := range s.Instances {
		if i.Group == id {
			own = append(own, i)
		}
	}
	return own
}

// LogQuery selects lines of output. Empty fields select everything.
type LogQuery struct {
	Environment EnvironmentID
	Process     ProcessName
	Instance    InstanceID
	// Task selects the output of a one-off run instead of instances' output.
	Task  string
	Since time.Time
	// Tail is how many of the last lines to begin with; 0: all that is kept.
	Tail   int
	Follow bool
}

// LogLine is one line of output. Engines give them as JSON, one a line.
type LogLine struct {
	Time     time.Time   `json:"time"`
	Instance InstanceID  `json:"instance"`
	Process  ProcessName `json:"process,omitempty"`
	Release  int         `json:"release,omitempty"`
	// Stream is "stdout", "stderr", or "tide" for what the platform says itself.
	Stream string `json:"stream"`
	Text   string `json:"text"`
}
