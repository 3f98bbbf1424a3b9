package jobs

import (
	"context"
	"encoding/json"
	"time"

	"github.com/springtide/springtide"
)

// Ledger is the book of all runs, schedules and locks. Package store/ledger
// keeps it in SQLite or PostgreSQL; several servers may use one PostgreSQL at
// the same time. All methods may be called at the same time. A method that
// writes has written durably when it returns nil; what it is asked a second
// time, because the first answer was lost, changes nothing and gives the same.
//
// Time is the database's: see [Ledger.Tick].
//
// Errors are of kind NotFound, Conflict, Invalid, or Unavailable (the database
// is away, full or read-only; try again later).
type Ledger interface {
	Enqueuer
	Worker
	Clock
	Settings
	Locks
	Reader
	Hand
	// Wakeups gives a value whenever runs may have become available, or there may
	// be room under a limit, in this process or, with PostgreSQL, in another: it is
	// a hint that may be lost. The channel closes with ctx.
	Wakeups(ctx context.Context) <-chan struct{}
	Close() error
}

// Enqueuer takes jobs in.
type Enqueuer interface {
	// Enqueue makes a run of each job, all or none of them, and gives them in the
	// order of the jobs. Where a key is taken, the run that has it is given
	// instead, with Existing set. With a batch, all belong to it.
	Enqueue(ctx context.Context, id springtide.EnvironmentID, jobs []springtide.Job, batch *Batch) ([]Enqueued, error)
}

// Enqueued is what became of a job.
type Enqueued struct {
	Run springtide.RunID `json:"run"`
	// Existing says that the key was taken by this run already.
	Existing bool `json:"existing,omitempty"`
}

// Batch is jobs that were enqueued together. Its ID is the caller's or, if
// empty, made up by the ledger.
type Batch struct {
	ID string `json:"id,omitempty"`
	// Done is enqueued once all runs of the batch are over. nil: nothing is.
	Done *springtide.Job `json:"done,omitempty"`
}

// Worker is what those who carry runs out need.
type Worker interface {
	// Claim leases available runs, at most request.Most of them, those of the
	// lowest place first (a run's place is when it became available plus a minute
	// for each step of its priority), within the limits of queue and environment.
	// Each is claimed, has a further attempt and a new fence, which is higher than
	// any before. None is no error.
	Claim(ctx context.Context, request Claim) ([]springtide.Run, error)
	// Start records that the claimed runs are about to begin. What is told false
	// must not begin: its lease was lost, or it was cancelled.
	Start(ctx context.Context, holds []Hold) ([]bool, error)
	// Heartbeat renews the leases and tells how each stands.
	Heartbeat(ctx context.Context, beats []Beat) ([]Standing, error)
	// Finish takes results, all in one transaction. What is told false was not
	// accepted: another attempt has the run, or it is over.
	Finish(ctx context.Context, outcomes []Outcome) ([]bool, error)
}

// Claim asks for runs.
type Claim struct {
	// Environment is whose runs are asked for, those of kind RunCommand; zero
	// means the platform's: of every environment those of the other kinds.
	Environment springtide.EnvironmentID
	// Queues may be taken from; empty: all.
	Queues []springtide.QueueName
	Most   int
	// Runner names who asks, Release the release it runs in.
	Runner  string
	Release int
	// Started starts them at once: for those who begin as soon as they are told.
	Started bool
}

// Hold is one attempt of a run, as its runner holds it. Every write of an
// attempt names it, and is refused if another attempt has the run.
type Hold struct {
	Run   springtide.RunID `json:"run"`
	Fence springtide.Fence `json:"fence"`
}

// Beat renews a lease.
type Beat struct {
	Hold
	// Progress is kept if it is not nil.
	Progress *springtide.Progress `json:"progress,omitempty"`
}

// Standing answers a beat.
type Standing struct {
	// Held says that the lease is good for another [LeaseFor]. If not, whatever
	// the run does must end at once.
	Held bool `json:"held"`
	// Cancel asks for its end: SIGTERM, then its grace.
	Cancel bool `json:"cancel,omitempty"`
}

// Verdict is how an attempt ended.
type Verdict string

// The verdicts.
const (
	Succeeded Verdict = "succeeded"
	Failed    Verdict = "failed"
	// Returned gives a run back: it was not begun, or was interrupted through no
	// fault of its own. It is available again, after RetryAfter if there is one,
	// and no failure counts.
	Returned Verdict = "returned"
)

// Outcome is the end of an attempt.
type Outcome struct {
	Hold
	Verdict Verdict `json:"verdict"`
	// Reason says why it failed.
	Reason   string `json:"reason,omitempty"`
	ExitCode int    `json:"exit_code,omitempty"`
	// Final says that another try would fail as well.
	Final bool `json:"final,omitempty"`
	// RetryAfter is when to try again at the earliest, instead of the back-off.
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	// Result is JSON; at most [springtide.ResultLimit].
	Result json.RawMessage `json:"result,omitempty"`
	// Output is the end of the output; its last [springtide.OutputTail] are kept.
	Output string `json:"output,omitempty"`
}

// How leases are kept, in time of the ledger's.
const (
	// LeaseFor is how long a lease lasts without a heartbeat.
	LeaseFor = 30 * time.Second
	// BeatEvery is how often a runner renews.
	BeatEvery = 10 * time.Second
	// SilentFor is after how much silence a runner must have ended its runs: by
	// its own clock, counted from when it sent its last heartbeat that was answered.
	SilentFor = 20 * time.Second
)

// How failures are retried: 15 s x 2^n, give or take a fifth, at most an hour.
const (
	FirstBackOff   = 15 * time.Second
	LongestBackOff = time.Hour
)

// Clock makes what time brings about.
type Clock interface {
	// Tick looks at the database's clock and does all that is due: slots are
	// recorded, delays and back-offs end, lost leases are taken back, deadlines
	// pass, what is past its retention is forgotten. Any number of servers may
	// tick at the same time.
	//
	// The ledger has two clocks, both in the database. The calendar is the highest
	// time the database ever told: it never goes back, and slots are due by it.
	// The uptime is how long anybody has been ticking: it grows with the
	// database's clock, but by no more than two seconds from one tick to the next,
	// and not at all when that goes back. Leases run in it, so that neither an
	// outage nor a jump of the clock takes a run from one who holds it. What waits
	// for a delay or a back-off is available as soon as either clock says so.
	Tick(ctx context.Context) (Ticked, error)
}

// Ticked is what a tick brought about.
type Ticked struct {
	// Next is in how long something is due that is known of now; 0: nothing is.
	Next time.Duration
	// Available counts the runs that became available.
	Available int
	// Happened tells what an operator may want to know: late and missed slots,
	// lost and dead runs. A change is told to one server only.
	Happened []Happened
}

// Happened is one thing that a tick or an outcome brought about.
type Happened struct {
	// Kind is "slot.late", "slot.missed", "slot.skipped", "run.lost" or "run.dead".
	Kind string
	Run  springtide.Run
}

// Settings says what there is to do and for whom.
type Settings interface {
	// SetJobs makes what an environment's release says of its jobs the truth: its
	// queues and schedules. A schedule whose times did not change keeps its next
	// slot; a new or changed one begins from now. Nothing is recorded twice, and
	// nothing lost, whatever the order of deploys. Schedules that are gone make no
	// further slots.
	SetJobs(ctx context.Context, id springtide.EnvironmentID, release int, jobs springtide.Jobs) error
	// SetStopped says that slots are to be recorded as skipped, or run again.
	SetStopped(ctx context.Context, id springtide.EnvironmentID, stopped bool) error
	// ForgetEnvironment deletes all that belongs to the environment.
	ForgetEnvironment(ctx context.Context, id springtide.EnvironmentID) error
	// Pause stops claims of a queue, or slots of a schedule (they are recorded as
	// skipped); Resume ends that. Asked again, nothing changes.
	PauseQueue(ctx context.Context, id springtide.EnvironmentID, queue springtide.QueueName, paused bool) error
	PauseSchedule(ctx context.Context, id springtide.EnvironmentID, schedule springtide.ScheduleName, paused bool) error
}

// Hand is what an operator does by hand.
type Hand interface {
	// Cancel ends a run that is not over: at once if no runner has it, else the
	// runner is asked. It gives the run as it is then.
	Cancel(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error)
	// Retry makes a run that is dead, cancelled, or waiting for its back-off
	// available now, with all its attempts before it.
	Retry(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error)
	// Replay retries every dead run of a queue; empty: of all. It gives how many.
	Replay(ctx context.Context, id springtide.EnvironmentID, queue springtide.QueueName) (int, error)
	// Trigger makes a run of a schedule now, besides its slots.
	Trigger(ctx context.Context, id springtide.EnvironmentID, schedule springtide.ScheduleName) (springtide.RunID, error)
}

// Reader tells what is in the ledger.
type Reader interface {
	Run(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error)
	// Runs gives those that match, the newest first. Payload, Result and Output
	// are left out.
	Runs(ctx context.Context, query Query) ([]springtide.Run, error)
	// Queues tells how each queue of the environment stands, in order of name; a
	// zero environment means all.
	Queues(ctx context.Context, id springtide.EnvironmentID) ([]QueueStatus, error)
	Schedules(ctx context.Context, id springtide.EnvironmentID) ([]ScheduleStatus, error)
	BatchStatus(ctx context.Context, id springtide.EnvironmentID, batch string) (BatchStatus, error)
}

// Query selects runs. Empty fields select everything.
type Query struct {
	Environment springtide.EnvironmentID
	Queue       springtide.QueueName
	Schedule    springtide.ScheduleName
	Batch       string
	States      []springtide.RunState
	// IDs are those of the runs, at most 1000.
	IDs []springtide.RunID
	// Before continues a listing behind a run that was its last.
	Before springtide.RunID
	// Most is how many are given; 0: 100; at most 1000.
	Most int
}

// QueueStatus tells how a queue stands.
type QueueStatus struct {
	Environment springtide.EnvironmentID    `json:"environment"`
	Name        springtide.QueueName        `json:"name"`
	Settings    springtide.Queue            `json:"settings"`
	Paused      bool                        `json:"paused,omitempty"`
	States      map[springtide.RunState]int `json:"states"`
	// Commands are those of the available runs that wait for a worker of the app,
	// Oldest is for how long the oldest of them has been available.
	Commands int           `json:"commands"`
	Oldest   time.Duration `json:"oldest"`
	// Arrived counts the runs that ever became available, Finished the attempts
	// that ever ended, Busy the time that those took: their rates and their mean
	// are what a worker is scaled by. They count those for a worker of the app.
	Arrived  int64         `json:"arrived"`
	Finished int64         `json:"finished"`
	Busy     time.Duration `json:"busy"`
	// Waited is how long those that were claimed had been available, in all.
	Waited time.Duration `json:"waited"`
	// Under way are those of the app's workers that are claimed or running.
	UnderWay int `json:"under_way"`
}

// ScheduleStatus tells how a schedule stands.
type ScheduleStatus struct {
	Environment springtide.EnvironmentID `json:"environment"`
	Name        springtide.ScheduleName  `json:"name"`
	Schedule    springtide.Schedule      `json:"schedule"`
	Paused      bool                     `json:"paused,omitempty"`
	// Next is the next slot; zero: none. Last is the newest that was recorded.
	Next      time.Time           `json:"next,omitzero"`
	Last      time.Time           `json:"last,omitzero"`
	LastRun   springtide.RunID    `json:"last_run,omitempty"`
	LastState springtide.RunState `json:"last_state,omitempty"`
}

// BatchStatus tells how far a batch has come.
type BatchStatus struct {
	ID string `json:"id"`
	// Size counts its runs; Over those that are over, Dead those that failed.
	Size int `json:"size"`
	Over int `json:"over"`
	Dead int `json:"dead"`
	// Done is the run that was enqueued when all were over; empty: not yet, or none.
	Done springtide.RunID `json:"done,omitempty"`
}

// Locks lends locks to apps.
type Locks interface {
	// TakeLock gives the lock to the owner for ttl, with a fence, if nobody else
	// has it; if somebody has, it is a Conflict that names the owner. Who has it
	// already is given it again, with the same fence and a new ttl.
	TakeLock(ctx context.Context, id springtide.EnvironmentID, name, owner string, ttl time.Duration) (Lock, error)
	// RenewLock is a Conflict if the lock was lost since.
	RenewLock(ctx context.Context, id springtide.EnvironmentID, name string, fence springtide.Fence, ttl time.Duration) (Lock, error)
	// ReleaseLock gives it back; if it was lost meanwhile, that is no error.
	ReleaseLock(ctx context.Context, id springtide.EnvironmentID, name string, fence springtide.Fence) error
	Locks(ctx context.Context, id springtide.EnvironmentID) ([]Lock, error)
}

// Lock is a lock that somebody has.
type Lock struct {
	Name  string           `json:"name"`
	Owner string           `json:"owner"`
	Fence springtide.Fence `json:"fence"`
	Taken time.Time        `json:"taken"`
	// Left is for how much longer it is his if he does not renew it.
	Left time.Duration `json:"left"`
}
