package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

const (
	// platformSlots is how many of the platform's own runs a server has at a time.
	platformSlots = 64
	// platformTimeout is how long an attempt may take if its job does not say.
	platformTimeout = time.Minute
	// platformGrace is how long what is under way may go on when the service ends;
	// platformEnd is how long its outcomes may take to be written then.
	platformGrace = 5 * time.Second
	platformEnd   = 5 * time.Second
)

// Executor carries out runs of one kind for the platform. When ctx ends it is to
// return soon, whatever with; [context.Cause] says why. The outcome's hold is
// filled in by the caller. Implemented by call.Caller and mail.Sender.
type Executor interface {
	Execute(ctx context.Context, run springtide.Run) Outcome
}

// Why an execution is to end before it has ended by itself.
var (
	errCancelled = errors.New("cancelled")
	errLost      = errors.New("its lease was lost")
	errSilent    = errors.New("the ledger did not answer in time")
	errEnding    = errors.New("the platform stopped")
)

// platformRunner carries out the runs that are the platform's own.
type platformRunner struct {
	*Service
	name  string
	slots chan struct{} // a value for each that is free
	beat  chan struct{} // has a value when a heartbeat is wanted now

	mu    sync.Mutex
	under map[springtide.RunID]*execution
}

// execution is a run under way.
type execution struct {
	hold Hold
	end  context.CancelCauseFunc
	// answered is when the last heartbeat that was answered was sent.
	answered time.Time
}

func newPlatformRunner(s *Service) *platformRunner {
	p := &platformRunner{
		Service: s, name: "platform-" + strings.ToLower(rand.Text()[:8]),
		slots: make(chan struct{}, platformSlots), beat: make(chan struct{}, 1), under: map[springtide.RunID]*execution{},
	}
	for range platformSlots {
		p.slots <- struct{}{}
	}
	return p
}

// run leases and carries out until ctx ends; then it lets what is under way end
// within the grace, and gives back the rest.
func (p *platformRunner) run(ctx context.Context) {
	if len(p.options.Executors) == 0 {
		return
	}
	work, end := context.WithCancelCause(context.WithoutCancel(ctx))
	var beating sync.WaitGroup
	defer beating.Wait()
	defer end(errEnding)
	beating.Go(func() { p.keepBeating(work) })
	p.lease(ctx, func(run springtide.Run, claimed time.Time) { go p.execute(work, run, claimed) })
	idle := make(chan struct{})
	go func() {
		for range platformSlots {
			<-p.slots
		}
		close(idle)
	}()
	for _, limit := range []time.Duration{platformGrace, platformEnd} {
		select {
		case <-idle:
		case <-time.After(limit):
		}
		end(errEnding)
	}
}

// lease gives every run to begin, until ctx ends.
func (p *platformRunner) lease(ctx context.Context, begin func(run springtide.Run, claimed time.Time)) {
	for {
		free := 0
		select {
		case <-p.slots:
			free++
		case <-ctx.Done():
			return
		}
		for more := true; more; {
			select {
			case <-p.slots:
				free++
			default:
				more = false
			}
		}
		runs, claimed, err := p.claimSome(ctx, free)
		for range free - len(runs) {
			p.slots <- struct{}{}
		}
		for _, run := range runs {
			begin(run, claimed)
		}
		if err != nil { // the tick loop says so in the log
			pause(ctx, tickEvery)
		}
	}
}

// claimSome waits for runs. claimed is not later than when the leases began.
func (p *platformRunner) claimSome(ctx context.Context, most int) (runs []springtide.Run, claimed time.Time, err error) {
	claim := Claim{Most: most, Runner: p.name, Started: true}
	runs, _, err = p.await(ctx, claim, longestWait, func() Admission {
		claimed = time.Now()
		return Admission{Lease: true}
	})
	return runs, claimed, err
}

// execute carries a run out and has its outcome written.
func (p *platformRunner) execute(work context.Context, run springtide.Run, claimed time.Time) {
	hold := Hold{Run: run.ID, Fence: run.Fence}
	limit := run.Timeout
	if limit == 0 {
		limit = platformTimeout
	}
	ctx, end := context.WithCancelCause(work)
	defer end(nil)
	mine := &execution{hold: hold, end: end, answered: claimed}
	p.mu.Lock()
	p.under[run.ID] = mine
	p.mu.Unlock()
	limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("timed out after %v", limit))
	defer cancel()
	outcome := p.carryOut(limited, run)
	if cause := context.Cause(limited); cause != nil && outcome.Verdict != Succeeded {
		outcome = outcomeOf(cause)
	}
	outcome.Hold = hold
	p.report(work, outcome)
	p.mu.Lock()
	if p.under[run.ID] == mine { // or it was leased again already
		delete(p.under, run.ID)
	}
	p.mu.Unlock()
	p.slots <- struct{}{}
}

// outcomeOf says how an attempt ended that was cut short.
func outcomeOf(cause error) Outcome {
	if errors.Is(cause, errEnding) || errors.Is(cause, errSilent) || errors.Is(cause, errLost) {
		return Outcome{Verdict: Returned, Reason: cause.Error()}
	}
	return Outcome{Verdict: Failed, Reason: cause.Error(), Final: errors.Is(cause, errCancelled)}
}

// carryOut has the run executed. A fault in that must not end the platform.
func (p *platformRunner) carryOut(ctx context.Context, run springtide.Run) (outcome Outcome) {
	defer func() {
		if fault := recover(); fault != nil {
			p.options.Logger.Error("carrying out a run panicked", "run", run.ID, "kind", run.Kind, "fault", fault, "stack", string(debug.Stack()))
			outcome = Outcome{Verdict: Failed, Reason: "the platform has a fault: its log says more"}
		}
	}()
	executor := p.options.Executors[run.Kind]
	if executor == nil {
		return Outcome{Verdict: Failed, Reason: fmt.Sprintf("nothing carries out jobs of kind %q here", run.Kind)}
	}
	return executor.Execute(ctx, run)
}

// report has the outcome written, as soon as the ledger lets it: until the
// service has ended. If it cannot be told, the lease runs out.
func (p *platformRunner) report(work context.Context, outcome Outcome) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(work))
	defer cancel()
	defer context.AfterFunc(work, func() {
		time.AfterFunc(platformEnd, cancel)
	})()
	for {
		_, err := p.finish(ctx, []Outcome{outcome})
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case springtide.KindOf(err) == springtide.Unavailable:
			if !pause(ctx, tickEvery) {
				return
			}
		case outcome.Reason == err.Error(): // nor that
			p.options.Logger.Error("how a run ended cannot be written", "run", outcome.Run, "error", err)
			return
		default:
			outcome = Outcome{Hold: outcome.Hold, Verdict: Failed, Reason: err.Error()}
		}
	}
}

// beatNow asks for a heartbeat at once: a run may have been cancelled.
func (p *platformRunner) beatNow() { ring(p.beat) }

// keepBeating renews the leases of all that is under way until work ends.
func (p *platformRunner) keepBeating(work context.Context) {
	wait := BeatEvery
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-p.beat:
		case <-work.Done():
			return
		}
		timer.Stop()
		wait = BeatEvery
		if p.renew(work) != nil {
			wait = tickEvery
		}
	}
}

// renew sends one heartbeat for all that is under way, and ends what may not go on.
func (p *platformRunner) renew(work context.Context) error {
	sent := time.Now()
	p.mu.Lock()
	all := slices.Collect(maps.Values(p.under))
	p.mu.Unlock()
	beats := make([]Beat, len(all))
	for i, e := range all {
		beats[i] = Beat{Hold: e.hold}
	}
	ctx, cancel := context.WithTimeout(work, SilentFor-BeatEvery-tickEvery)
	defer cancel()
	standings, err := p.heartbeat(ctx, beats)
	for i, e := range all {
		switch {
		case err == nil && !standings[i].Held:
			e.end(errLost)
		case err == nil && standings[i].Cancel:
			e.end(errCancelled)
		case err == nil:
			e.answered = sent
		case time.Since(e.answered) > SilentFor-tickEvery:
			e.end(errSilent)
		}
	}
	return err
}
