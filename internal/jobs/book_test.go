package jobs_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiz and blog are environments.
var (
	quiz = springtide.EnvironmentID{App: "quiz", Name: "production"}
	blog = springtide.EnvironmentID{App: "blog", Name: "production"}
)

// book is as much of a ledger, in memory, as the service's tests need. It counts
// what it is asked.
type book struct {
	jobs.Ledger // what is missing is not called

	mu       sync.Mutex
	runs     map[springtide.RunID]*springtide.Run
	order    []springtide.RunID
	fence    springtide.Fence
	held     map[springtide.RunID]bool // by whom nothing was heard of its loss
	locks    map[string]string         // owners
	outcomes []jobs.Outcome            // that were accepted
	happened []jobs.Happened
	statuses []jobs.QueueStatus
	next     time.Duration
	away     error

	claims, ticks, beats, looks int
	tickTimes                   []time.Time
	// finishes are how many outcomes each transaction had, and finishing is how
	// long it takes.
	finishes  []int
	finishing time.Duration
	// claiming is called before a claim looks at the runs, looked after it.
	claiming, looked func()
	hints            chan struct{}
}

func newBook() *book {
	return &book{
		runs: map[springtide.RunID]*springtide.Run{}, held: map[springtide.RunID]bool{}, locks: map[string]string{},
		hints: make(chan struct{}, 1), claiming: func() {}, looked: func() {},
	}
}

// add makes runs available without telling anybody.
func (b *book) add(id springtide.EnvironmentID, count int, job springtide.Job) []springtide.RunID {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []springtide.RunID
	for range count {
		run := &springtide.Run{
			ID: springtide.RunID(fmt.Sprintf("run%d", len(b.order)+1)), Environment: id, Queue: job.Queue, Kind: job.Kind,
			State: springtide.RunAvailable, Payload: job.Payload, Timeout: job.Timeout, RunAt: time.Now().Add(job.Delay),
		}
		if job.Delay > 0 {
			run.State = springtide.RunScheduled
		}
		b.runs[run.ID] = run
		b.order = append(b.order, run.ID)
		ids = append(ids, run.ID)
	}
	return ids
}

func (b *book) hint() {
	select {
	case b.hints <- struct{}{}:
	default:
	}
}

// set changes the book.
func (b *book) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// count reads a figure of the book.
func (b *book) count(figure *int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *figure
}

func (b *book) Wakeups(ctx context.Context) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		defer close(out)
		for {
			select {
			case <-b.hints:
			case <-ctx.Done():
				return
			}
			select {
			case out <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (b *book) Tick(context.Context) (jobs.Ticked, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ticks++
	b.tickTimes = append(b.tickTimes, time.Now())
	if b.away != nil {
		return jobs.Ticked{}, b.away
	}
	ticked := jobs.Ticked{Next: b.next, Happened: b.happened}
	b.happened = nil
	for _, run := range b.runs {
		left := time.Until(run.RunAt)
		switch {
		case run.State != springtide.RunScheduled:
		case left <= 0:
			run.State = springtide.RunAvailable
			ticked.Available++
		case ticked.Next == 0 || left < ticked.Next:
			ticked.Next = left
		}
	}
	return ticked, nil
}

func (b *book) Enqueue(_ context.Context, id springtide.EnvironmentID, all []springtide.Job, _ *jobs.Batch) ([]jobs.Enqueued, error) {
	var enqueued []jobs.Enqueued
	for _, job := range all {
		enqueued = append(enqueued, jobs.Enqueued{Run: b.add(id, 1, job)[0]})
	}
	return enqueued, nil
}

func (b *book) Claim(ctx context.Context, claim jobs.Claim) ([]springtide.Run, error) {
	b.claiming()
	defer b.looked()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims++
	if b.away != nil {
		return nil, b.away
	}
	var claimed []springtide.Run
	for _, id := range b.order {
		run := b.runs[id]
		ours := run.Environment == claim.Environment && run.Kind == springtide.RunCommand
		if claim.Environment == (springtide.EnvironmentID{}) {
			ours = run.Kind != springtide.RunCommand
		}
		if run.State != springtide.RunAvailable || !ours || len(claimed) == claim.Most ||
			len(claim.Queues) > 0 && !slices.Contains(claim.Queues, run.Queue) {
			continue
		}
		b.fence++
		run.State, run.Fence, run.Claimed, run.Runner = springtide.RunClaimed, b.fence, time.Now(), claim.Runner
		run.Attempt++
		b.held[id] = true
		if claim.Started {
			run.State = springtide.RunRunning
		}
		claimed = append(claimed, *run)
	}
	return claimed, ctx.Err()
}

// holds reports whether a hold is good.
func (b *book) holds(hold jobs.Hold) bool {
	run := b.runs[hold.Run]
	return run != nil && run.Fence == hold.Fence && b.held[hold.Run]
}

func (b *book) Start(_ context.Context, all []jobs.Hold) ([]bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	started := make([]bool, len(all))
	for i, hold := range all {
		if started[i] = b.holds(hold); started[i] {
			b.runs[hold.Run].State = springtide.RunRunning
		}
	}
	return started, b.away
}

func (b *book) Heartbeat(_ context.Context, all []jobs.Beat) ([]jobs.Standing, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.beats++
	if b.away != nil {
		return nil, b.away
	}
	standings := make([]jobs.Standing, len(all))
	for i, beat := range all {
		standings[i].Held = b.holds(beat.Hold)
		standings[i].Cancel = standings[i].Held && b.runs[beat.Run].Cancelling
	}
	return standings, nil
}

func (b *book) Finish(_ context.Context, all []jobs.Outcome) ([]bool, error) {
	b.mu.Lock()
	finishing := b.finishing
	b.mu.Unlock()
	time.Sleep(finishing)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finishes = append(b.finishes, len(all))
	if b.away != nil {
		return nil, b.away
	}
	accepted := make([]bool, len(all))
	for _, outcome := range all {
		if outcome.Reason == "bad" {
			return nil, springtide.Errorf(springtide.Invalid, "a bad outcome")
		}
	}
	for i, outcome := range all {
		if accepted[i] = b.holds(outcome.Hold); !accepted[i] {
			continue
		}
		delete(b.held, outcome.Run)
		b.outcomes = append(b.outcomes, outcome)
		run := b.runs[outcome.Run]
		run.Reason, run.Output = outcome.Reason, outcome.Output
		switch outcome.Verdict {
		case jobs.Succeeded:
			run.State = springtide.RunSucceeded
		case jobs.Returned:
			run.State = springtide.RunAvailable
		case jobs.Failed:
			run.State = springtide.RunDead
		}
	}
	return accepted, nil
}

func (b *book) Cancel(_ context.Context, _ springtide.EnvironmentID, id springtide.RunID) (springtide.Run, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs[id].Cancelling = true
	return *b.runs[id], nil
}

func (b *book) Run(_ context.Context, id springtide.EnvironmentID, name springtide.RunID) (springtide.Run, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	run := b.runs[name]
	switch {
	case b.away != nil:
		return springtide.Run{}, b.away
	case run == nil || run.Environment != id:
		return springtide.Run{}, springtide.Errorf(springtide.NotFound, "%s has no run %s", id, name)
	}
	return *run, nil
}

func (b *book) Runs(ctx context.Context, query jobs.Query) (found []springtide.Run, err error) {
	for _, name := range query.IDs {
		run, err := b.Run(ctx, query.Environment, name)
		if springtide.KindOf(err) == springtide.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, run)
	}
	return found, nil
}

func (b *book) Queues(context.Context, springtide.EnvironmentID) ([]jobs.QueueStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looks++
	return b.statuses, b.away
}

func (b *book) ForgetEnvironment(context.Context, springtide.EnvironmentID) error { return nil }

func (b *book) TakeLock(_ context.Context, _ springtide.EnvironmentID, name, owner string, _ time.Duration) (jobs.Lock, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if other := b.locks[name]; other != "" && other != owner {
		return jobs.Lock{}, springtide.Errorf(springtide.Conflict, "%s has the lock %s", other, name)
	}
	b.locks[name] = owner
	b.fence++
	return jobs.Lock{Name: name, Owner: owner, Fence: b.fence}, nil
}

func (b *book) ReleaseLock(_ context.Context, _ springtide.EnvironmentID, name string, _ springtide.Fence) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.locks, name)
	return nil
}

// accepted gives the outcomes that were accepted.
func (b *book) accepted() []jobs.Outcome {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.outcomes)
}

// start runs a service over the book until the test ends.
func start(t *testing.T, b *book, change ...func(*jobs.Options)) *jobs.Service {
	t.Helper()
	s, stop := startStoppable(t, b, change...)
	t.Cleanup(stop)
	return s
}

func startStoppable(t *testing.T, b *book, change ...func(*jobs.Options)) (service *jobs.Service, stop func()) {
	t.Helper()
	options := jobs.Options{Ledger: b, Folder: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	for _, apply := range change {
		apply(&options)
	}
	service = jobs.New(options)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- service.Run(ctx) }()
	return service, sync.OnceFunc(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}

// lease asks for runs for up to 30 s.
func lease(t *testing.T, s *jobs.Service, most int, queues ...springtide.QueueName) jobs.LeaseAnswer {
	t.Helper()
	answer, err := s.Lease(t.Context(), jobs.Identity{Environment: quiz}, jobs.LeaseRequest{Runner: "r", Queues: queues, Most: most, WaitSeconds: 30})
	if err != nil {
		t.Error(err)
	}
	return answer
}

func enqueue(t *testing.T, s *jobs.Service, all ...springtide.Job) []springtide.RunID {
	t.Helper()
	enqueued, err := s.Enqueue(t.Context(), quiz, all, nil)
	if err != nil {
		t.Fatal(err)
	}
	var ids []springtide.RunID
	for _, one := range enqueued {
		ids = append(ids, one.Run)
	}
	return ids
}

func wantKind(t *testing.T, err error, kind springtide.ErrorKind, words ...string) {
	t.Helper()
	if springtide.KindOf(err) != kind {
		t.Errorf("got error %v, want one of kind %q", err, kind)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}
