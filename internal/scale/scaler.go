package scale

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// Targets says which groups are to be scaled.
type Targets interface {
	// Targets gives the groups that have the traffic.
	Targets(ctx context.Context) ([]Target, error)
	// Changed receives a value after every change of what Targets gives; several
	// changes may be one value.
	Changed() <-chan struct{}
}

// Target is a group that has the traffic of its process.
type Target struct {
	Group springtide.GroupID
	// Replicas is how many instances it is told to have.
	Replicas int
	// Process is as in its release, with the overrides of `tide scale`.
	Process springtide.Process
	// Stopped says that its environment is held at no instances: leave it alone.
	Stopped bool
}

// Applier makes a group have so many replicas.
type Applier interface {
	// SetReplicas makes it so and remembers it. The decision is given for the
	// record of the change; it reaches the Recorder too.
	SetReplicas(ctx context.Context, group springtide.GroupID, n int, decision springtide.Decision) error
}

// Recorder keeps decisions so that they can be explained.
type Recorder interface {
	// RecordDecision is called for every decision that changed something, and for
	// one that did not if its reason is another than that of the last one, at
	// most every ten seconds per group.
	RecordDecision(ctx context.Context, decision springtide.Decision) error
}

// Options are what a Scaler needs; all but Past are required.
type Options struct {
	Targets  Targets
	Applier  Applier
	Recorder Recorder
	Logger   *slog.Logger
	// Past remembers the needs of minutes over restarts and releases; nil: only the
	// last hours of a release are known.
	Past Past
}

const (
	// period is how often a group is decided on while it has demand, or has more
	// instances than it must.
	period = 250 * time.Millisecond
	// urgentPeriod is how often at most while requests are held: edges report
	// every one of them.
	urgentPeriod = 20 * time.Millisecond
	// retryAfter is when what failed is tried again.
	retryAfter = time.Second
	// applyLimit bounds one change.
	applyLimit = 10 * time.Second
	// recordEvery bounds the records of decisions that change nothing.
	recordEvery = 10 * time.Second
)

// Scaler meters the demand of all groups, and the queues of workers, and keeps
// each group at what it needs.
type Scaler struct {
	options Options
	meter   *Meter
	work    *workMeter
	outside *outsideMeter
	// held wakes the loop at once, news when it sleeps.
	held, news chan struct{}

	mu   sync.Mutex
	last map[springtide.GroupID]springtide.Decision
	// machine is as of the last pass.
	machine Machine
}

// New gives a scaler; nothing happens before [Scaler.Run].
func New(options Options) *Scaler {
	return &Scaler{
		options: options, meter: NewMeter(), work: newWorkMeter(), outside: newOutsideMeter(),
		held: make(chan struct{}, 1), news: make(chan struct{}, 1),
		last: make(map[springtide.GroupID]springtide.Decision),
	}
}

// Report takes in what an edge saw; it does not block.
func (s *Scaler) Report(report springtide.EdgeReport) {
	news, held := s.meter.Report(time.Now(), report)
	if held {
		wake(s.held)
	} else if news {
		wake(s.news)
	}
}

// Observe takes in what the engine sees; it does not block. The snapshot must
// not be changed afterwards.
func (s *Scaler) Observe(snapshot springtide.Snapshot) {
	if s.meter.Observe(time.Now(), snapshot) {
		wake(s.news)
	}
}

// ReportUsage takes in what instances use of the machine; it does not block. It is
// to be told every second or so.
func (s *Scaler) ReportUsage(usage springtide.Usage) { s.meter.Use(time.Now(), usage) }

// Machine tells how the machine is shared.
func (s *Scaler) Machine() Machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine
}

// ReportWork takes in how the queues of all environments stand; it does not
// block. It is to be told at once when runs become available, and every second
// or so in any case: of what was not told for ten seconds nothing is known.
func (s *Scaler) ReportWork(all []Work) {
	news, waiting := s.work.report(time.Now(), all)
	if waiting {
		wake(s.held)
	} else if news {
		wake(s.news)
	}
}

// Live gives how a group is doing now.
func (s *Scaler) Live(group springtide.GroupID) Live { return s.meter.Live(time.Now(), group) }

// Last gives the newest decision on a group, recorded or not.
func (s *Scaler) Last(group springtide.GroupID) (springtide.Decision, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	decision, ok := s.last[group]
	return decision, ok
}

// Run decides until ctx ends: every 250 ms on groups that have demand or more
// instances than they must, at once when a request is held or a first run waits,
// and not at all while there is nothing to decide.
func (s *Scaler) Run(ctx context.Context) error {
	l := &loop{Scaler: s, stale: true}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		began := time.Now()
		next := l.pass(ctx)
		var news <-chan struct{}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), 0))
		}
		if next.IsZero() || time.Until(next) > period {
			news = s.news
		}
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.held:
			pause(ctx, time.Until(began.Add(urgentPeriod)))
		case <-news:
		case <-s.options.Targets.Changed():
			l.stale = true
		}
	}
	return nil
}

// pause waits so long, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
