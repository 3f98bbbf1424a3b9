package jobs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

const (
	// longestWait is how long a lease may wait for runs.
	longestWait = 30 * time.Second
	// claimLimit is how long one claim may take; it goes on when its caller left.
	claimLimit = 10 * time.Second
)

// Identity says who speaks for a runner.
type Identity struct {
	Environment springtide.EnvironmentID
	// Release and Generation are those of the instance. Zero: an operator, or a
	// runner that the platform did not start.
	Release, Generation int
	Process             springtide.ProcessName
	Instance            string
}

// Admission is what somebody may do at present.
type Admission struct {
	// Lease says that it may be given runs.
	Lease bool
	// Drain and Interrupt are told to it: see [LeaseAnswer] and [BeatAnswer].
	Drain, Interrupt bool
}

// readmission tells those who wait that admissions may have changed.
type readmission struct {
	mu      sync.Mutex
	changed chan struct{}
}

func (r *readmission) next() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Readmit says that Options.Admit may answer otherwise than before: who waits
// for runs is asked about again at once.
func (s *Service) Readmit() {
	s.readmission.mu.Lock()
	defer s.readmission.mu.Unlock()
	close(s.readmission.changed)
	s.readmission.changed = make(chan struct{})
}

// Lease gives runs as soon as there are any; none if there were none within the
// wait, if who asks is to drain, or when ctx or the service ends. What is claimed
// for somebody who has gone meanwhile is given back at once.
func (s *Service) Lease(ctx context.Context, who Identity, request LeaseRequest) (LeaseAnswer, error) {
	answer := LeaseAnswer{Runs: []LeasedRun{}, LeaseSeconds: LeaseFor.Seconds(), BeatSeconds: BeatEvery.Seconds()}
	if who.Environment == (springtide.EnvironmentID{}) {
		return answer, springtide.Errorf(springtide.Invalid, "a lease needs an environment")
	}
	select {
	case <-s.ending:
		return answer, springtide.Errorf(springtide.Unavailable, "the platform is stopping").WithHint("ask again in a second")
	default:
	}
	claim := Claim{
		Environment: who.Environment, Queues: request.Queues, Most: max(request.Most, 1),
		Runner: request.Runner, Release: who.Release, Started: request.Started,
	}
	wait := min(duration(request.WaitSeconds), longestWait)
	runs, drain, err := s.await(ctx, claim, wait, func() Admission { return s.options.Admit(who) })
	for _, run := range runs {
		answer.Runs = append(answer.Runs, LeasedRun{
			Run: run.ID, Fence: run.Fence, Attempt: run.Attempt, Queue: run.Queue, Command: run.Command, Payload: run.Payload,
			Schedule: run.Schedule, Slot: run.Slot, TimeoutSeconds: run.Timeout.Seconds(),
		})
	}
	answer.Drain = drain
	return answer, err
}

// await claims as soon as there is something to claim and admit lets it.
func (s *Service) await(ctx context.Context, claim Claim, wait time.Duration, admit func() Admission) (runs []springtide.Run, drain bool, err error) {
	var w *waiter // while it may claim
	var wake chan struct{}
	defer func() {
		if w != nil {
			s.lobby.leave(w)
		}
	}()
	over := time.NewTimer(wait)
	defer over.Stop()
	for try := true; ; {
		readmitted := s.readmission.next()
		admission := admit()
		if admission.Drain {
			return nil, true, nil
		}
		if admission.Lease && w == nil {
			var futile bool
			w, futile = s.lobby.enter(claim.Environment, claim.Queues, claim.Most)
			wake, try = w.wake, !futile || wait <= 0
		}
		if admission.Lease && try {
			runs, err = s.claim(ctx, claim)
			s.lobby.found(w, len(runs))
			if err != nil || len(runs) > 0 {
				return runs, false, err
			}
		}
		if admission.Lease {
			s.lobby.rest(w)
		}
		select {
		case <-wake:
			try = true
		case <-readmitted:
			try = false
		case <-over.C:
			return nil, false, nil
		case <-ctx.Done():
			return nil, false, nil
		case <-s.ending:
			return nil, false, nil
		}
	}
}

// claim claims, and gives back what it claimed for a caller who has gone.
func (s *Service) claim(ctx context.Context, claim Claim) ([]springtide.Run, error) {
	if ctx.Err() != nil {
		return nil, nil
	}
	stay, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimLimit)
	defer cancel()
	runs, err := s.ledger.Claim(stay, claim)
	if errors.Is(err, context.DeadlineExceeded) {
		err = springtide.Errorf(springtide.Unavailable, "the ledger did not answer within %v: %w", claimLimit, err)
	}
	if err != nil {
		return nil, err
	}
	returned := make([]Outcome, len(runs))
	for i, run := range runs {
		a := attemptOf(run)
		a.since = a.seen
		s.holds.add(run.ID, a)
		returned[i] = Outcome{Hold: Hold{Run: run.ID, Fence: run.Fence}, Verdict: Returned}
	}
	if len(runs) > 0 {
		s.stale()
	}
	if ctx.Err() != nil && len(runs) > 0 {
		_, err := s.finish(stay, returned)
		return nil, err
	}
	for _, run := range runs {
		s.options.Observer.RunClaimed(run, max(0, run.Claimed.Sub(run.RunAt)))
	}
	return runs, nil
}

// Start is [Worker.Start] for runs of who's environment; those of others are refused.
func (s *Service) Start(ctx context.Context, who Identity, all []Hold) ([]bool, error) {
	owned, places, err := own(ctx, s, who.Environment, all, func(hold Hold) Hold { return hold })
	if err != nil {
		return nil, err
	}
	accepted, err := s.starting.do(ctx, owned)
	if err != nil {
		return nil, err
	}
	for _, hold := range owned {
		s.holds.note(hold, func(a *attempt) { a.since = time.Now() })
	}
	return scatter(accepted, places, len(all)), nil
}

// Heartbeat renews leases, and tells who asks what is wanted of it.
func (s *Service) Heartbeat(ctx context.Context, who Identity, request BeatRequest) (BeatAnswer, error) {
	admission := s.options.Admit(who)
	answer := BeatAnswer{Drain: admission.Drain, Interrupt: admission.Interrupt}
	owned, places, err := own(ctx, s, who.Environment, request.Runs, func(beat Beat) Hold { return beat.Hold })
	if err != nil {
		return answer, err
	}
	standings, err := s.heartbeat(ctx, owned)
	if err != nil {
		return answer, err
	}
	answer.Runs = scatter(standings, places, len(request.Runs))
	return answer, nil
}

// heartbeat renews leases that are known to be the caller's.
func (s *Service) heartbeat(ctx context.Context, beats []Beat) ([]Standing, error) {
	standings, err := s.beating.do(ctx, beats)
	for i, standing := range standings {
		if standing.Held {
			s.holds.note(beats[i].Hold, func(a *attempt) { a.seen = time.Now() })
		} else {
			s.holds.drop(beats[i].Hold)
		}
	}
	return standings, err
}

func duration(seconds float64) time.Duration {
	return time.Duration(min(seconds, maxSeconds) * float64(time.Second))
}

// maxSeconds keeps a duration made of seconds from overflowing.
const maxSeconds = 1e9
