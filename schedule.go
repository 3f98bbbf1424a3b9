package springtide

import "time"

// ScheduleName names a schedule of an environment. It is spelled like an [AppName].
type ScheduleName string

// Schedule makes a run at each of its slots. A slot is recorded once, however
// many servers look at it.
type Schedule struct {
	// Cron is five fields, or "@daily" and the like, or "every 10m".
	Cron string `json:"cron"`
	// Timezone is a name of the IANA database. Empty: UTC.
	Timezone string `json:"timezone,omitempty"`
	// Job is what each slot makes. Its RunAt, Delay and Key are not used.
	Job Job `json:"job"`
	// Missed says what becomes of slots that nobody was there for.
	Missed Missed `json:"missed"`
	// Overlap says what becomes of a slot whose predecessor is not over.
	Overlap Overlap `json:"overlap"`
	// Deadline is how long after its time a slot may start without being late.
	Deadline time.Duration `json:"deadline"`
	// Jitter spreads the starts over so long after the slot, always in the same
	// way for one slot.
	Jitter time.Duration `json:"jitter,omitempty"`
}

// Missed says what becomes of slots that passed while no server was up.
type Missed string

// What may become of missed slots. All of them are recorded in any case.
const (
	MissedSkip   Missed = "skip"   // the newest runs if it is within its deadline, no other
	MissedLatest Missed = "latest" // the newest runs, however late
	MissedAll    Missed = "all"    // every one runs
)

// Overlap says what becomes of a slot whose predecessor is not over.
type Overlap string

// What may become of a slot that overlaps.
const (
	OverlapSkip    Overlap = "skip"    // it is recorded as skipped
	OverlapQueue   Overlap = "queue"   // it waits for its predecessor
	OverlapAllow   Overlap = "allow"   // both run
	OverlapReplace Overlap = "replace" // its predecessor is cancelled
)

// Queue is what holds for the runs of one queue.
type Queue struct {
	// Concurrency is how many runs of it are under way at most. 0: no limit.
	Concurrency int `json:"concurrency,omitempty"`
	// Attempts is how often a run is tried, if it does not say itself.
	Attempts int `json:"attempts"`
	// Retention is how long runs that ended well, or never were, are remembered.
	Retention time.Duration `json:"retention"`
}

// Jobs is all that an app says of its jobs.
type Jobs struct {
	// Concurrency is how many runs of the environment are under way at most. 0: no limit.
	Concurrency int                       `json:"concurrency,omitempty"`
	Queues      map[QueueName]Queue       `json:"queues,omitempty"`
	Schedules   map[ScheduleName]Schedule `json:"schedules,omitempty"`
	// Calls is how many requests a second each host is sent at most by
	// [RunHTTP]; the key "*" stands for all others.
	Calls map[string]float64 `json:"calls,omitempty"`
	// MailFrom is the sender of mails that name none.
	MailFrom string `json:"mail_from,omitempty"`
}

// What holds for queues that say nothing else.
const (
	DefaultAttempts  = 25
	DefaultRetention = 7 * 24 * time.Hour
	// DeadRetention is how long dead letters are kept.
	DeadRetention = 30 * 24 * time.Hour
)

// Worker says how a process takes runs from queues.
type Worker struct {
	Queues []QueueName `json:"queues"`
	// Own says that the process leases runs itself, over HTTP. If not, `tide
	// runner` leases them and starts the process's command once for each run.
	Own bool `json:"own,omitempty"`
	// Timeout is how long one attempt may take, where its job does not say.
	Timeout time.Duration `json:"timeout"`
	// Grace is how long the command of a run may go on after SIGTERM.
	Grace time.Duration `json:"grace"`
	// Wait is how long a run should wait for its turn at most: the worker is
	// scaled by it.
	Wait time.Duration `json:"wait"`
}

// longestByRunner is how long an attempt may take, if its worker does not say
// more, before the runner is taken to hang.
const longestByRunner = 24 * time.Hour

// Longest is how long an attempt may take at most. So long a deploy leaves it be.
func (w Worker) Longest() time.Duration {
	if w.Own {
		return w.Timeout
	}
	return max(w.Timeout, longestByRunner)
}
