package torture

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/store/ledger"
)

// direct gives a worker the ledger itself, without a server that would keep what
// is stale from it.
type direct struct{ ledger *ledger.Ledger }

// openDirect opens the ledger as soon as it can be opened.
func openDirect(location string) direct {
	for {
		opened, err := ledger.Open(context.Background(), location, ledger.Options{Connections: 3, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err == nil {
			return direct{opened}
		}
		fmt.Fprintln(os.Stderr, err)
		time.Sleep(100 * time.Millisecond)
	}
}

// ask does what a server would do, until it is done, makes no sense, or ctx ends.
func (d direct) ask(ctx context.Context, path string, question, answer any) error {
	for {
		limited, cancel := context.WithTimeout(ctx, 12*time.Second)
		err := d.try(limited, path, question, answer)
		cancel()
		if kind := springtide.KindOf(err); err == nil || kind == springtide.Invalid || ctx.Err() != nil {
			return err
		}
		time.Sleep(rand.N(100 * time.Millisecond))
	}
}

func (d direct) try(ctx context.Context, path string, question, answer any) (err error) {
	switch question := question.(type) {
	case jobs.LeaseRequest:
		runs, err := d.ledger.Claim(ctx, jobs.Claim{
			Environment: springtide.EnvironmentID{App: "torture", Name: springtide.Production},
			Queues:      question.Queues, Most: question.Most, Runner: question.Runner, Started: question.Started,
		})
		var leased []jobs.LeasedRun
		for _, run := range runs {
			leased = append(leased, jobs.LeasedRun{Run: run.ID, Fence: run.Fence, Attempt: run.Attempt, Payload: run.Payload})
		}
		if len(runs) == 0 {
			time.Sleep(50 * time.Millisecond)
		}
		answer.(*jobs.LeaseAnswer).Runs = leased
		return err
	case jobs.StartRequest:
		answer.(*jobs.AcceptedAnswer).Accepted, err = d.ledger.Start(ctx, question.Runs)
	case jobs.BeatRequest:
		answer.(*jobs.BeatAnswer).Runs, err = d.ledger.Heartbeat(ctx, question.Runs)
	case jobs.CompleteRequest:
		var outcomes []jobs.Outcome
		for _, run := range question.Runs {
			outcomes = append(outcomes, jobs.Outcome{
				Hold: run.Hold, Verdict: run.Verdict, Reason: run.Reason, Final: run.Final, Result: run.Result,
				RetryAfter: time.Duration(run.RetryAfterSeconds * float64(time.Second)),
			})
		}
		answer.(*jobs.AcceptedAnswer).Accepted, err = d.ledger.Finish(ctx, outcomes)
	default:
		return fmt.Errorf("nobody knows what %s is", path)
	}
	return err
}
