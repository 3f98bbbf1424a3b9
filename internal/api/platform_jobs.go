package api

import (
	"context"
	"io"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// Ledger tells what is in the book of jobs. Implemented by store/ledger.
type Ledger interface {
	Run(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error)
	// Runs gives those that match, the newest first.
	Runs(ctx context.Context, query jobs.Query) ([]springtide.Run, error)
	Queues(ctx context.Context, id springtide.EnvironmentID) ([]jobs.QueueStatus, error)
	BatchStatus(ctx context.Context, id springtide.EnvironmentID, batch string) (jobs.BatchStatus, error)
}

// Jobs takes jobs in and acts upon their runs. Implemented by jobs.Service.
type Jobs interface {
	// Enqueue makes a run of each job, or none of any; see [jobs.Enqueuer].
	Enqueue(ctx context.Context, id springtide.EnvironmentID, all []springtide.Job, batch *jobs.Batch) ([]jobs.Enqueued, error)
	// WaitRun returns when the run is over; when ctx ends before, it gives the run
	// as it is, without an error.
	WaitRun(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error)
	// Output gives what the run wrote, as text; with follow until it is over. ctx
	// ends a read that waits.
	Output(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID, follow bool) (io.ReadCloser, error)
	// Cancel, Retry and Replay are as in [jobs.Hand], PauseQueue as in [jobs.Settings].
	Cancel(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error)
	Retry(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error)
	Replay(ctx context.Context, id springtide.EnvironmentID, queue springtide.QueueName) (int, error)
	PauseQueue(ctx context.Context, id springtide.EnvironmentID, queue springtide.QueueName, paused bool) error
}

// Leases gives runs to those who carry them out. What each method takes and
// gives is in [jobs] beside the protocol. Implemented by jobs.Service.
type Leases interface {
	// Lease waits for runs as long as it is asked to, or until ctx ends.
	Lease(ctx context.Context, who jobs.Identity, request jobs.LeaseRequest) (jobs.LeaseAnswer, error)
	Start(ctx context.Context, who jobs.Identity, holds []jobs.Hold) ([]bool, error)
	Heartbeat(ctx context.Context, who jobs.Identity, request jobs.BeatRequest) (jobs.BeatAnswer, error)
	Complete(ctx context.Context, who jobs.Identity, request jobs.CompleteRequest) (jobs.AcceptedAnswer, error)
	// AppendOutput adds to the output of an attempt, from offset on, in bytes, and
	// gives the offset to go on from. A wrong one is a [jobs.OffsetError].
	AppendOutput(ctx context.Context, who jobs.Identity, hold jobs.Hold, offset int64, body io.Reader) (next int64, err error)
}

// Schedules tells of schedules and acts upon them. Implemented by jobs.Service.
type Schedules interface {
	Schedules(ctx context.Context, id springtide.EnvironmentID) ([]jobs.ScheduleStatus, error)
	// Coming gives the next slots of all schedules, the soonest first.
	Coming(ctx context.Context, id springtide.EnvironmentID, count int) ([]jobs.Coming, error)
	// Trigger makes a run now, besides the slots.
	Trigger(ctx context.Context, id springtide.EnvironmentID, schedule springtide.ScheduleName) (springtide.RunID, error)
	PauseSchedule(ctx context.Context, id springtide.EnvironmentID, schedule springtide.ScheduleName, paused bool) error
}

// Locks lends locks; see [jobs.Locks]. Implemented by jobs.Service.
type Locks interface {
	// TakeLock waits as long as the lock is somebody else's, at most for wait.
	TakeLock(ctx context.Context, id springtide.EnvironmentID, name, owner string, ttl, wait time.Duration) (jobs.Lock, error)
	RenewLock(ctx context.Context, id springtide.EnvironmentID, name string, fence springtide.Fence, ttl time.Duration) (jobs.Lock, error)
	ReleaseLock(ctx context.Context, id springtide.EnvironmentID, name string, fence springtide.Fence) error
	Locks(ctx context.Context, id springtide.EnvironmentID) ([]jobs.Lock, error)
}

// Mail shows the mails that were caught instead of being sent, and the
// addresses that are sent none. Implemented by the control plane's wiring.
type Mail interface {
	// List gives the newest first.
	List(ctx context.Context, id springtide.EnvironmentID) ([]CaughtMail, error)
	// Read gives a mail as it would have been sent, message/rfc822.
	Read(ctx context.Context, id springtide.EnvironmentID, name string) (io.ReadCloser, error)
	// Suppressions are in order of address.
	Suppressions(ctx context.Context, id springtide.EnvironmentID) ([]Suppression, error)
	// Suppress adds an address; asked again, nothing changes.
	Suppress(ctx context.Context, id springtide.EnvironmentID, address string) error
	// Unsuppress is NotFound if the address is not suppressed.
	Unsuppress(ctx context.Context, id springtide.EnvironmentID, address string) error
}

// CaughtMail is a mail that the catcher has.
type CaughtMail struct {
	// Name names it within its environment.
	Name    string    `json:"name"`
	Time    time.Time `json:"time"`
	From    string    `json:"from"`
	To      []string  `json:"to"`
	Subject string    `json:"subject"`
	// Size is in bytes.
	Size int64 `json:"size"`
}

// Suppression is an address that is sent nothing.
type Suppression struct {
	Address string    `json:"address"`
	Since   time.Time `json:"since"`
	// Reason is what its server said, or that it was done by hand.
	Reason string `json:"reason"`
}

// InstanceTokens knows the tokens that instances are given in TIDE_TOKEN.
type InstanceTokens interface {
	// Identify tells whose token it is; an unknown one is Unauthorized.
	Identify(token string) (jobs.Identity, error)
}
