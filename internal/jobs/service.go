package jobs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// Options configure a [Service].
type Options struct {
	Ledger Ledger
	// Folder holds the output of runs. It is made if it does not exist.
	Folder string
	Logger *slog.Logger
	// Admit says what somebody may do now; see [Service.Readmit]. nil: everybody
	// may lease.
	Admit func(Identity) Admission
	// Served gives the queues that workers of an environment take runs from, and
	// how long an attempt may take there at most, 0: as long as it likes. Not
	// limited: every queue is served. nil: no environment is limited.
	Served func(springtide.EnvironmentID) (queues map[springtide.QueueName]time.Duration, limited bool)
	// Happened is given what the ledger tells this server. nil: nobody wants it.
	Happened func(Happened)
	// Changed is called when [Service.Statuses] has something new; it must return
	// at once. nil: nobody wants to know.
	Changed func()
	// Observer is for metrics. nil: nobody.
	Observer Observer
	// Executors carry out the platform's own runs. A kind without one cannot be
	// enqueued.
	Executors map[springtide.RunKind]Executor
	// Next gives the first slot of a schedule after a time; zero: there is none.
	// [Service.Coming] needs it.
	Next func(schedule springtide.Schedule, after time.Time) (time.Time, error)
}

// What the service passes on to its ledger as it is. They are embedded under
// names of its own since an interface that is embedded hides its namesake.
type (
	ledgerSettings = Settings
	ledgerHand     = Hand
	ledgerReader   = Reader
	ledgerLocks    = Locks
)

// Service is the jobs of the platform, see the package. Its methods may be
// called before [Service.Run] is, and at the same time. What is said of their
// errors at [Ledger] holds here too.
type Service struct {
	ledgerSettings
	ledgerHand
	ledgerReader // but for its Run: that is the ledger's
	ledgerLocks

	options     Options
	ledger      Ledger
	lobby       *lobby
	readmission readmission
	holds       holds
	starting    gatherer[Hold, bool]
	beating     gatherer[Beat, Standing]
	finishing   gatherer[Outcome, bool]
	watches     watches
	alarm       alarm
	snapshot    snapshot
	queuing     turnstiles
	outputs     outputs
	platform    *platformRunner
	// ending closes when the service ends.
	ending chan struct{}
}

// New makes a service over a ledger, which stays the caller's to close.
func New(options Options) *Service {
	if options.Admit == nil {
		options.Admit = func(Identity) Admission { return Admission{Lease: true} }
	}
	if options.Served == nil {
		options.Served = func(springtide.EnvironmentID) (map[springtide.QueueName]time.Duration, bool) { return nil, false }
	}
	if options.Happened == nil {
		options.Happened = func(Happened) {}
	}
	if options.Changed == nil {
		options.Changed = func() {}
	}
	if options.Observer == nil {
		options.Observer = nobody{}
	}
	l := options.Ledger
	s := &Service{
		ledgerSettings: l, ledgerHand: l, ledgerReader: l, ledgerLocks: l,
		options: options, ledger: l, lobby: newLobby(),
		readmission: readmission{changed: make(chan struct{})},
		holds:       holds{byRun: map[springtide.RunID]attempt{}},
		starting:    gatherer[Hold, bool]{write: l.Start},
		beating:     gatherer[Beat, Standing]{write: l.Heartbeat},
		finishing:   gatherer[Outcome, bool]{write: l.Finish},
		watches:     watches{byRun: map[springtide.RunID][]chan struct{}{}},
		alarm:       alarm{earlier: make(chan struct{}, 1)},
		snapshot:    snapshot{stale: make(chan struct{}, 1)},
		queuing:     turnstiles{byLock: map[lockName]*turnstile{}},
		outputs:     outputs{folder: options.Folder, logger: options.Logger, environments: map[springtide.EnvironmentID]*outputFolder{}},
		ending:      make(chan struct{}),
	}
	s.platform = newPlatformRunner(s)
	return s
}

// Run lets time pass, wakes who waits and carries out the platform's own runs
// until ctx ends. Then leases that wait are answered with nothing, and what of
// the platform's own does not end within a grace is given back.
func (s *Service) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, loop := range []func(context.Context){s.tick, s.listen, s.lobby.run, s.refresh, s.sweepOutputs, s.platform.run} {
		all.Go(func() { loop(ctx) })
	}
	<-ctx.Done()
	close(s.ending)
	all.Wait()
	return nil
}

// listen passes on what the ledger hints at.
func (s *Service) listen(ctx context.Context) {
	for range s.ledger.Wakeups(ctx) {
		s.lobby.hintAll()
		s.stale()
	}
}

// available says that something was done by hand that may have made runs available.
func (s *Service) available(id springtide.EnvironmentID) {
	s.lobby.hint(id, springtide.EnvironmentID{})
	s.stale()
}

// SetJobs is [Settings.SetJobs].
func (s *Service) SetJobs(ctx context.Context, id springtide.EnvironmentID, release int, jobs springtide.Jobs) error {
	err := s.ledger.SetJobs(ctx, id, release, jobs)
	s.alarm.by(time.Now())
	s.available(id)
	return err
}

// SetStopped is [Settings.SetStopped].
func (s *Service) SetStopped(ctx context.Context, id springtide.EnvironmentID, stopped bool) error {
	err := s.ledger.SetStopped(ctx, id, stopped)
	s.alarm.by(time.Now())
	return err
}

// ForgetEnvironment is [Settings.ForgetEnvironment], and deletes the output of
// the environment's runs.
func (s *Service) ForgetEnvironment(ctx context.Context, id springtide.EnvironmentID) error {
	if err := s.ledger.ForgetEnvironment(ctx, id); err != nil {
		return err
	}
	s.stale()
	return s.outputs.forget(id)
}

// PauseQueue is [Settings.PauseQueue].
func (s *Service) PauseQueue(ctx context.Context, id springtide.EnvironmentID, queue springtide.QueueName, paused bool) error {
	err := s.ledger.PauseQueue(ctx, id, queue, paused)
	s.available(id)
	return err
}

// Cancel is [Hand.Cancel].
func (s *Service) Cancel(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	cancelled, err := s.ledger.Cancel(ctx, id, run)
	if err == nil {
		s.watches.tell(run)
		s.platform.beatNow()
		s.available(id)
	}
	return cancelled, err
}

// Retry is [Hand.Retry].
func (s *Service) Retry(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	retried, err := s.ledger.Retry(ctx, id, run)
	s.available(id)
	return retried, err
}

// Replay is [Hand.Replay].
func (s *Service) Replay(ctx context.Context, id springtide.EnvironmentID, queue springtide.QueueName) (int, error) {
	count, err := s.ledger.Replay(ctx, id, queue)
	s.available(id)
	return count, err
}

// Trigger is [Hand.Trigger].
func (s *Service) Trigger(ctx context.Context, id springtide.EnvironmentID, schedule springtide.ScheduleName) (springtide.RunID, error) {
	run, err := s.ledger.Trigger(ctx, id, schedule)
	s.available(id)
	return run, err
}
