package ledger

import (
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/springtide/springtide"
)

const (
	// keyLimit is how long keys and the names of batches and locks may be, in bytes.
	keyLimit = 500
	// lastYear is the last in which a run may be asked for.
	lastYear = 9999
)

var queueName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// complete fills in what a job does not say, and is Invalid if it makes no sense.
func complete(job springtide.Job) (springtide.Job, error) {
	if job.Queue == "" {
		job.Queue = springtide.DefaultQueue
	}
	if job.Kind == "" {
		job.Kind = springtide.RunCommand
	}
	if job.KeyScope == "" {
		job.KeyScope = springtide.KeyKept
	}
	if job.OnLost == "" {
		job.OnLost = springtide.LostRetry
	}
	if err := checkWords(job); err != nil {
		return job, err
	}
	return job, checkNumbers(job)
}

func checkWords(job springtide.Job) error {
	switch {
	case !queueName.MatchString(string(job.Queue)):
		return springtide.Errorf(springtide.Invalid, "%q is no name of a queue", job.Queue).
			WithHint("use lower-case letters, digits and hyphens, at most 40")
	case !slices.Contains([]springtide.RunKind{springtide.RunCommand, springtide.RunHTTP, springtide.RunMail, springtide.RunBackup, springtide.RunDrill}, job.Kind):
		return springtide.Errorf(springtide.Invalid, "there is no kind of run %q", job.Kind).
			WithHint("use command, http or mail")
	case job.KeyScope != springtide.KeyKept && job.KeyScope != springtide.KeyActive:
		return springtide.Errorf(springtide.Invalid, "there is no scope of keys %q", job.KeyScope).
			WithHint("use kept or active")
	case job.OnLost != springtide.LostRetry && job.OnLost != springtide.LostFail:
		return springtide.Errorf(springtide.Invalid, "on_lost cannot be %q", job.OnLost).
			WithHint("use retry or fail")
	case len(job.Key) > keyLimit || !text(job.Key):
		return springtide.Errorf(springtide.Invalid, "the key is not text of at most %d bytes", keyLimit).
			WithHint("use a shorter one, such as a hash of it")
	case len(job.Command) > springtide.PayloadLimit || !text(job.Command):
		return springtide.Errorf(springtide.Invalid, "the command is not text of at most %d KiB", springtide.PayloadLimit>>10).
			WithHint("put it into a script of the app")
	case len(job.Payload) > springtide.PayloadLimit:
		return springtide.Errorf(springtide.Invalid, "the payload has %d bytes, more than %d", len(job.Payload), springtide.PayloadLimit).
			WithHint("store it elsewhere and hand over where it is")
	case len(job.Payload) > 0 && (!json.Valid(job.Payload) || !utf8.Valid(job.Payload)):
		return springtide.Errorf(springtide.Invalid, "the payload is not JSON").
			WithHint("text must be quoted: \"like this\"")
	}
	return nil
}

func checkNumbers(job springtide.Job) error {
	switch {
	case job.Priority < -100 || job.Priority > 100:
		return springtide.Errorf(springtide.Invalid, "a priority of %d is not within -100 and 100", job.Priority).
			WithHint("a lower number goes first, and one step is worth a minute of waiting")
	case job.Delay < 0 || job.Timeout < 0 || job.Attempts < 0 || job.Attempts > math.MaxInt32:
		return springtide.Errorf(springtide.Invalid, "a delay of %s, a time limit of %s, %d attempts: one of them cannot be", job.Delay, job.Timeout, job.Attempts).
			WithHint("none may be negative; leave out what does not matter")
	case job.Delay > 0 && !job.RunAt.IsZero():
		return springtide.Errorf(springtide.Invalid, "both a time and a delay are given").
			WithHint("give one of them")
	case !job.RunAt.IsZero() && (job.RunAt.Year() < 1970 || job.RunAt.Year() > lastYear):
		return springtide.Errorf(springtide.Invalid, "a run cannot be in the year %d", job.RunAt.Year()).
			WithHint("the years 1970 to %d are possible", lastYear)
	}
	return nil
}

// text reports whether a database can keep it.
func text(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// readable makes text of what a program has written, at most the last limit bytes.
func readable(s string, limit int) string {
	s = s[max(len(s)-limit, 0):]
	if text(s) {
		return s
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	return strings.ToValidUTF8(s[max(len(s)-limit, 0):], "")
}

// newRun is a run that is to be inserted.
type newRun struct {
	number, queue int64
	job           springtide.Job
	attempts      int
	retention     int64 // of its queue
	state         springtide.RunState
	schedule      springtide.ScheduleName
	slot, startBy int64
	batch         string
	runAt, due    int64 // due is in uptime
	place, since  int64 // since is when it became available
	finished      int64
	forget        int64
	reason        string
	// What became of it: its slot is recorded already, or another run has its key.
	alreadyThere   bool
	takenByAnother int64
}

// newRun makes a run of a job, which is available as soon as its delay allows.
// The ordinal tells those of one call apart.
func (p place) newRun(number int64, ordinal int, job springtide.Job) newRun {
	q := p.queues[job.Queue]
	run := newRun{number: number, queue: q.number, job: job, attempts: job.Attempts, retention: q.retention, runAt: p.now.calendar, due: never}
	if run.attempts == 0 {
		run.attempts = q.attempts
	}
	switch {
	case job.Delay > 0:
		run.runAt, run.due = in(p.now.calendar, job.Delay), in(p.now.uptime, job.Delay)
	case !job.RunAt.IsZero():
		run.runAt = micros(job.RunAt)
	}
	run.makeAvailable(p.now, ordinal)
	return run
}

// makeAvailable makes the run available now, or scheduled if its time is yet to come.
func (r *newRun) makeAvailable(now moment, ordinal int) {
	r.state = springtide.RunScheduled
	if r.runAt <= now.calendar {
		r.state, r.since = springtide.RunAvailable, now.calendar
		r.place = turn(now.calendar, r.job.Priority) + int64(ordinal)
	}
}

// turn is the place of what became available at a time: a step of priority is
// worth a minute. Nobody's changes while it waits, and so everybody's comes.
func turn(since int64, priority int) int64 {
	return since + int64(priority)*time.Minute.Microseconds()
}
