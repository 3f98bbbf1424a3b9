package springtide

import "time"

// Decision is one answer to the question how many instances a group should
// have, with what it was made of. It is kept so that `tide explain` can say why.
type Decision struct {
	Time  time.Time `json:"time"`
	Group GroupID   `json:"group"`
	From  int       `json:"from"`
	To    int       `json:"to"`
	// Sentence explains the decision; its numbers recompute to To.
	Sentence string `json:"sentence"`
	// Inputs are the numbers the decision was made of, by name.
	Inputs map[string]float64 `json:"inputs,omitempty"`
	// Evidence is all that it was made of, as package scale packs it: from it the
	// same law decides the same again. Of older decisions it is not kept.
	Evidence []byte `json:"-"`
	// Replayed is what the law of this version makes of the evidence; nil: there is
	// none. It is made whenever it is asked for, and not kept.
	Replayed *Replay `json:"replayed,omitempty"`
}

// Replay is a decision that was made again.
type Replay struct {
	To       int    `json:"to"`
	Sentence string `json:"sentence"`
	// Same says that it is what was decided then.
	Same bool `json:"same"`
}

// Event is something that happened and that a user may want to see.
type Event struct {
	// Sequence only grows; it is given by the store.
	Sequence    int64         `json:"sequence"`
	Time        time.Time     `json:"time"`
	Environment EnvironmentID `json:"environment,omitzero"`
	// Kind is machine-readable: "build.line", "rollout.step", "instance.state",
	// "scale.decision", "edge.started", …
	Kind    string `json:"kind"`
	Message string `json:"message"`
	// Fields are further facts, by name.
	Fields map[string]string `json:"fields,omitempty"`
}
