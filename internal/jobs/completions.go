package jobs

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

// Complete tells how attempts of runs of who's environment ended. When it
// answers, that is durable; what comes from several callers at the same time is
// written together.
func (s *Service) Complete(ctx context.Context, who Identity, request CompleteRequest) (AcceptedAnswer, error) {
	owned, places, err := own(ctx, s, who.Environment, request.Runs, func(c Completion) Hold { return c.Hold })
	if err != nil {
		return AcceptedAnswer{}, err
	}
	outcomes := make([]Outcome, len(owned))
	for i, c := range owned {
		outcomes[i] = Outcome{
			Hold: c.Hold, Verdict: c.Verdict, Reason: c.Reason, ExitCode: c.ExitCode, Final: c.Final,
			RetryAfter: duration(c.RetryAfterSeconds), Result: c.Result, Output: c.Output,
		}
	}
	accepted, err := s.finish(ctx, outcomes)
	if err != nil {
		return AcceptedAnswer{}, err
	}
	return AcceptedAnswer{Accepted: scatter(accepted, places, len(request.Runs))}, nil
}

// finish takes outcomes of attempts that are known to be the caller's.
func (s *Service) finish(ctx context.Context, outcomes []Outcome) ([]bool, error) {
	accepted, err := s.finishing.do(ctx, outcomes)
	if err != nil || len(outcomes) == 0 {
		return accepted, err
	}
	for i, o := range outcomes {
		a := s.holds.drop(o.Hold)
		if accepted[i] {
			s.over(o, a)
		}
	}
	s.stale()
	return accepted, nil
}

// over passes on that an attempt ended; a is zero if nothing is known of it.
func (s *Service) over(o Outcome, a attempt) {
	s.watches.tell(o.Run)
	if a.fence == 0 {
		return
	}
	took := time.Duration(0)
	if !a.since.IsZero() {
		took = time.Since(a.since)
	}
	s.options.Observer.AttemptOver(a.environment, a.queue, o.Verdict, took)
	switch {
	case o.Verdict == Returned && o.RetryAfter == 0:
		s.lobby.wake(a.environment, a.queue, 1)
		s.lobby.hint(springtide.EnvironmentID{})
	case o.RetryAfter > 0:
		s.alarm.by(time.Now().Add(o.RetryAfter))
	}
}
