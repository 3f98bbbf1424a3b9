package springtide

import (
	"encoding/json"
	"time"
)

// QueueName names a queue of an environment. It is spelled like an [AppName].
type QueueName string

// DefaultQueue is the queue that is meant when none is named.
const DefaultQueue QueueName = "default"

// RunID names one run, uniquely for ever. A restart of the run keeps it.
type RunID string

// Fence is a number that only grows: every claim of any run and every taking of
// any lock in one ledger gets a higher one than all before. A resource that
// remembers the highest it has seen can refuse whoever comes late.
type Fence int64

// RunKind says what carries a run out.
type RunKind string

// The kinds of runs.
const (
	// RunCommand is carried out by a worker process of the app.
	RunCommand RunKind = "command"
	// RunHTTP is a request that the platform makes; its payload is an [HTTPCall].
	RunHTTP RunKind = "http"
	// RunMail is a mail that the platform sends; its payload is a [Mail].
	RunMail RunKind = "mail"
	// RunBackup keeps a service, or shared files, safe; RunDrill proves that the
	// newest backup can be restored. Only the platform makes such runs; their
	// payload is a [BackupTask].
	RunBackup RunKind = "backup"
	RunDrill  RunKind = "drill"
)

// The limits of what a run may carry, in bytes.
const (
	PayloadLimit = 256 << 10
	ResultLimit  = 64 << 10
	// OutputTail is how much of the end of a run's output is kept with it.
	OutputTail = 64 << 10
)

// OnLost says what becomes of a run whose runner was lost after its start.
type OnLost string

// What may become of a lost run.
const (
	LostRetry OnLost = "retry" // it is tried again, as after a failure
	LostFail  OnLost = "fail"  // it is dead: it may have done its work
)

// KeyScope says how long the key of a job keeps another of the same key away.
type KeyScope string

// The scopes of a key.
const (
	KeyKept   KeyScope = "kept"   // as long as its run is remembered: enqueueing is idempotent
	KeyActive KeyScope = "active" // until its run is over: one at a time
)

// Job is what is asked for: from it the ledger makes a [Run].
type Job struct {
	Queue QueueName `json:"queue,omitempty"`
	Kind  RunKind   `json:"kind,omitempty"`
	// Command is run by sh in the release instead of the worker's own command.
	Command string `json:"command,omitempty"`
	// Payload is any JSON; at most [PayloadLimit].
	Payload json.RawMessage `json:"payload,omitempty"`
	// Priority: a lower number goes first; one step is worth a minute of waiting,
	// so that nothing waits for ever. -100 to 100.
	Priority int `json:"priority,omitempty"`
	// RunAt is the earliest time; Delay counts from now. At most one is set.
	RunAt time.Time     `json:"run_at,omitzero"`
	Delay time.Duration `json:"delay,omitempty"`
	// Key makes enqueueing idempotent, within an environment: as long as its scope
	// says, the same key gives the same run.
	Key      string   `json:"key,omitempty"`
	KeyScope KeyScope `json:"key_scope,omitempty"`
	// Attempts is how often it is tried at most. 0: as the queue says.
	Attempts int `json:"attempts,omitempty"`
	// Timeout is how long one attempt may take. 0: as the worker says.
	Timeout time.Duration `json:"timeout,omitempty"`
	OnLost  OnLost        `json:"on_lost,omitempty"`
}

// RunState is where a run is in its life.
//
//	scheduled ─┐                    ┌→ succeeded
//	waiting ───┴→ available → claimed → running ─→ dead
//	   ▲              ▲         │         │
//	   │              └─ lost ──┘         │ failed, lost: back-off
//	   └──────────────────────────────────┘
//	before the end, at any time: cancelled. A slot that makes no run: skipped, missed.
type RunState string

// The states of a run.
const (
	RunScheduled RunState = "scheduled" // waits for its time: a delay, or the back-off of a retry
	RunWaiting   RunState = "waiting"   // waits for an earlier run of its schedule
	RunAvailable RunState = "available" // may be claimed
	RunClaimed   RunState = "claimed"   // a runner has it, and has not begun
	RunRunning   RunState = "running"   // its command may have begun
	RunSucceeded RunState = "succeeded"
	RunDead      RunState = "dead"      // all attempts failed: a dead letter, kept for replay
	RunCancelled RunState = "cancelled" // by hand, or replaced by a later slot
	RunSkipped   RunState = "skipped"   // a slot whose turn fell on an earlier run, a pause or a stop
	RunMissed    RunState = "missed"    // a slot that could not start by its deadline
)

// Over reports whether nothing more happens to the run by itself.
func (s RunState) Over() bool {
	switch s {
	case RunSucceeded, RunDead, RunCancelled, RunSkipped, RunMissed:
		return true
	}
	return false
}

// Run is one job, or one slot of a schedule, and what became of it.
type Run struct {
	ID          RunID           `json:"id"`
	Environment EnvironmentID   `json:"environment"`
	Queue       QueueName       `json:"queue"`
	Kind        RunKind         `json:"kind"`
	State       RunState        `json:"state"`
	Command     string          `json:"command,omitempty"`
	Payload     json.RawMessage `json:"payload,omitempty"`
	Priority    int             `json:"priority,omitempty"`
	Key         string          `json:"key,omitempty"`
	// Schedule and Slot name what the run was made for; empty for a job.
	Schedule ScheduleName `json:"schedule,omitempty"`
	Slot     time.Time    `json:"slot,omitzero"`
	// Batch is the batch that the job was enqueued with; empty: none.
	Batch string `json:"batch,omitempty"`
	// Attempt counts the claims, Failures those attempts that count against
	// Attempts, the most there may be.
	Attempt  int           `json:"attempt"`
	Failures int           `json:"failures"`
	Attempts int           `json:"attempts"`
	Fence    Fence         `json:"fence"`
	Timeout  time.Duration `json:"timeout,omitempty"`
	OnLost   OnLost        `json:"on_lost"`
	// Runner has, or had, the last attempt; Release is the one it ran in.
	Runner  string    `json:"runner,omitempty"`
	Release int       `json:"release,omitempty"`
	Created time.Time `json:"created"`
	// RunAt is when it may be claimed, at the earliest.
	RunAt    time.Time `json:"run_at"`
	Claimed  time.Time `json:"claimed,omitzero"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// StartBy is a slot's deadline; Late says that it was not met.
	StartBy time.Time `json:"start_by,omitzero"`
	Late    bool      `json:"late,omitempty"`
	// Cancelling says that its runner has been asked to end it.
	Cancelling bool     `json:"cancelling,omitempty"`
	Progress   Progress `json:"progress,omitzero"`
	// Result is JSON that the run left; at most [ResultLimit].
	Result json.RawMessage `json:"result,omitempty"`
	// Reason says why the last attempt failed, or why there was none.
	Reason string `json:"reason,omitempty"`
	// ExitCode is that of the last attempt's command.
	ExitCode int `json:"exit_code,omitempty"`
	// Output is the end of the last attempt's output; at most [OutputTail].
	Output string `json:"output,omitempty"`
}

// Progress is how far a run says it has come.
type Progress struct {
	Percent float64 `json:"percent,omitempty"`
	Message string  `json:"message,omitempty"`
}

// HTTPCall is a request that the platform makes for an app: to the app itself,
// or to somebody else's API. A 2xx answer is success; 429 and 503 are tried
// again when Retry-After says; other 4xx answers, but for 408 and 425, are
// final.
type HTTPCall struct {
	// URL is where to; a path alone is the app's own.
	URL     string            `json:"url"`
	Method  string            `json:"method,omitempty"` // Default: POST
	Headers map[string]string `json:"headers,omitempty"`
	Body    json.RawMessage   `json:"body,omitempty"`
	// Rate is how many requests a second the host is sent at most by the
	// environment. 0: as the manifest says.
	Rate float64 `json:"rate,omitempty"`
}

// Mail is a mail that the platform sends for an app.
type Mail struct {
	From    string   `json:"from,omitempty"` // Default: as the manifest says
	To      []string `json:"to"`
	CC      []string `json:"cc,omitempty"`
	BCC     []string `json:"bcc,omitempty"`
	ReplyTo string   `json:"reply_to,omitempty"`
	Subject string   `json:"subject,omitempty"`
	Text    string   `json:"text,omitempty"`
	HTML    string   `json:"html,omitempty"`
	// Template is a path of the app: it is posted Data, and answers with JSON of
	// subject, text and html.
	Template string            `json:"template,omitempty"`
	Data     json.RawMessage   `json:"data,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`
}

// BackupTask is what a run of kind backup or drill is about.
type BackupTask struct {
	// Of is the name of a service, or [BackupFiles].
	Of string `json:"of"`
}
