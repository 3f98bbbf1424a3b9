package jobs

import (
	"encoding/json"
	"time"

	"github.com/springtide/springtide"
)

// What runners and the platform say to each other over HTTP, as JSON. The
// paths are below an environment's: /v1/apps/APP/environments/ENVIRONMENT,
// which an instance finds in TIDE_API, with the token in TIDE_TOKEN.
//
//	POST leases              LeaseRequest    → LeaseAnswer
//	POST leases/start        StartRequest    → AcceptedAnswer
//	POST leases/heartbeat    BeatRequest     → BeatAnswer
//	POST leases/complete     CompleteRequest → AcceptedAnswer
//	POST leases/output       ?run=ID&fence=N&offset=BYTES, the body is output; 409 tells the offset to go on from
//
// Seconds are numbers that may have a fraction.

// LeaseRequest asks for runs.
type LeaseRequest struct {
	// Runner names who asks; the same in all that it says.
	Runner string                 `json:"runner" minLength:"1" maxLength:"100"`
	Queues []springtide.QueueName `json:"queues,omitempty" doc:"none: every queue of the environment"`
	Most   int                    `json:"most,omitempty" minimum:"1" maximum:"1000" default:"1" doc:"how many runs it has room for"`
	// WaitSeconds is how long the answer may be waited for while there is none.
	WaitSeconds float64 `json:"wait_seconds,omitempty" minimum:"0" maximum:"30"`
	// Started saves the request to start: the runner begins with what it is given
	// as soon as it has it.
	Started bool `json:"started,omitempty"`
}

// LeaseAnswer gives runs.
type LeaseAnswer struct {
	Runs []LeasedRun `json:"runs"`
	// Drain says that nothing more will be given to this runner: another release
	// has taken over, or the platform is stopping. It finishes what it has, and
	// ends.
	Drain bool `json:"drain,omitempty"`
	// LeaseSeconds and BeatSeconds say how leases are kept.
	LeaseSeconds float64 `json:"lease_seconds"`
	BeatSeconds  float64 `json:"beat_seconds"`
}

// LeasedRun is a run to be carried out.
type LeasedRun struct {
	Run      springtide.RunID        `json:"run"`
	Fence    springtide.Fence        `json:"fence"`
	Attempt  int                     `json:"attempt"`
	Queue    springtide.QueueName    `json:"queue"`
	Command  string                  `json:"command,omitempty"`
	Payload  json.RawMessage         `json:"payload,omitempty"`
	Schedule springtide.ScheduleName `json:"schedule,omitempty"`
	Slot     time.Time               `json:"slot,omitzero"`
	// TimeoutSeconds is how long the attempt may take; 0: as its worker says.
	TimeoutSeconds float64 `json:"timeout_seconds,omitempty"`
}

// StartRequest tells that runs are about to begin.
type StartRequest struct {
	Runs []Hold `json:"runs" minItems:"1" maxItems:"1000"`
}

// AcceptedAnswer tells for each run, in the order of the request, whether it
// was accepted: if not, another attempt has the run, and this one must end.
type AcceptedAnswer struct {
	Accepted []bool `json:"accepted"`
}

// BeatRequest renews leases.
type BeatRequest struct {
	Runner string `json:"runner" minLength:"1" maxLength:"100"`
	Runs   []Beat `json:"runs" maxItems:"1000"`
}

// BeatAnswer tells how each lease stands, in the order of the request.
type BeatAnswer struct {
	Runs []Standing `json:"runs"`
	// Drain is as in LeaseAnswer. Interrupt asks further to end what runs now, and
	// to give it back: the platform is stopping.
	Drain     bool `json:"drain,omitempty"`
	Interrupt bool `json:"interrupt,omitempty"`
}

// CompleteRequest tells how runs ended.
type CompleteRequest struct {
	Runs []Completion `json:"runs" minItems:"1" maxItems:"1000"`
}

// Completion is the end of an attempt.
type Completion struct {
	Hold
	Verdict           Verdict         `json:"verdict" enum:"succeeded,failed,returned"`
	Reason            string          `json:"reason,omitempty" maxLength:"2000"`
	ExitCode          int             `json:"exit_code,omitempty"`
	Final             bool            `json:"final,omitempty" doc:"another try would fail as well"`
	RetryAfterSeconds float64         `json:"retry_after_seconds,omitempty" minimum:"0"`
	Result            json.RawMessage `json:"result,omitempty" doc:"any JSON, at most 64 KiB"`
	Output            string          `json:"output,omitempty" doc:"the end of the output; its last 64 KiB are kept"`
}
