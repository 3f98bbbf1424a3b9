package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/store/ledger"
)

// tideQueue is our ledger below the service that the platform runs, and a worker
// that leases from it as one does over HTTP.
type tideQueue struct {
	opening
	ledger  jobs.Ledger
	service *jobs.Service
	who     jobs.Identity
	stop    func() error
}

func openTide(ctx context.Context, o opening) (queue, error) {
	opened, err := ledger.Open(ctx, o.Address, ledger.Options{})
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	q := &tideQueue{
		opening: o, ledger: opened,
		service: jobs.New(jobs.Options{Ledger: opened, Folder: filepath.Join(o.Folder, "output"), Logger: logger}),
		who:     jobs.Identity{Environment: springtide.EnvironmentID{App: "bench", Name: springtide.Production}},
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var all errgroup.Group
	all.Go(func() error { return q.service.Run(running) })
	q.stop = func() error { cancel(); return all.Wait() }
	if o.Fresh {
		err = q.service.SetJobs(ctx, q.who.Environment, 1, said(o))
	}
	return q, err
}

// said is what the environment's release says of its jobs.
func said(o opening) springtide.Jobs {
	said := springtide.Jobs{Queues: map[springtide.QueueName]springtide.Queue{
		springtide.DefaultQueue: {Attempts: springtide.DefaultAttempts, Retention: springtide.DefaultRetention},
	}}
	if o.Scheduled {
		said.Schedules = map[springtide.ScheduleName]springtide.Schedule{"slots": {
			Cron: "every " + slotEvery.String(), Missed: springtide.MissedAll, Overlap: springtide.OverlapAllow, Deadline: time.Minute,
		}}
	}
	return said
}

func (q *tideQueue) Enqueue(ctx context.Context, first, count int) error {
	all := make([]springtide.Job, count)
	for n := range all {
		payload, err := json.Marshal(first + n)
		if err != nil {
			return err
		}
		all[n].Payload = payload
	}
	_, err := q.service.Enqueue(ctx, q.who.Environment, all, nil)
	return err
}

// Work leases as many runs as it has room for, again and again. A place is free
// once its job is done; that this is so is told together with others, as
// River's client does.
func (q *tideQueue) Work(ctx context.Context, do worker) error {
	slots, done := make(chan struct{}, q.Workers), make(chan jobs.Completion, 10*q.Workers)
	for range q.Workers {
		slots <- struct{}{}
	}
	all, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	for range completers {
		all.Go(func() error { return q.complete(failed, done) })
	}
	all.Go(func() error {
		var running sync.WaitGroup
		defer func() { running.Wait(); close(done) }()
		for {
			room, ok := take(ctx, failed, slots)
			if !ok {
				return nil
			}
			answer, err := q.service.Lease(ctx, q.who, jobs.LeaseRequest{Runner: q.Name, Most: room, WaitSeconds: 20, Started: true})
			if err != nil {
				return err
			}
			for range room - len(answer.Runs) {
				slots <- struct{}{}
			}
			for _, run := range answer.Runs {
				running.Go(func() {
					verdict := carryOut(run, do)
					slots <- struct{}{}
					done <- jobs.Completion{Hold: jobs.Hold{Run: run.Run, Fence: run.Fence}, Verdict: verdict}
				})
			}
		}
	})
	return all.Wait()
}

// completers is how many calls tell of what is done at the same time.
const completers = 2

// complete tells what is done, all there is in one call.
func (q *tideQueue) complete(ctx context.Context, done <-chan jobs.Completion) error {
	for first := range done {
		request := jobs.CompleteRequest{Runs: []jobs.Completion{first}}
		for more := true; more && len(request.Runs) < 1000; {
			select {
			case next, open := <-done:
				if more = open; open {
					request.Runs = append(request.Runs, next)
				}
			default:
				more = false
			}
		}
		answer, err := q.service.Complete(ctx, q.who, request)
		if err != nil {
			return err
		}
		if refused := slices.Index(answer.Accepted, false); refused >= 0 {
			fmt.Fprintln(os.Stderr, "refused:", request.Runs[refused].Run)
		}
	}
	return nil
}

func carryOut(run jobs.LeasedRun, do worker) jobs.Verdict {
	if run.Schedule != "" {
		do.slot(run.Slot.Format(time.RFC3339))
		return jobs.Succeeded
	}
	var n int
	if err := json.Unmarshal(run.Payload, &n); err != nil {
		return jobs.Failed // it shows: the job never ran
	}
	do.job(n)
	return jobs.Succeeded
}

// take waits for a slot and takes those that are free beside it; not ok: it is over.
func take(ctx, failed context.Context, slots chan struct{}) (room int, ok bool) {
	select {
	case <-slots:
	case <-ctx.Done():
		return 0, false
	case <-failed.Done():
		return 0, false
	}
	for room = 1; ; room++ {
		select {
		case <-slots:
		default:
			return room, true
		}
	}
}

func (q *tideQueue) Unfinished(ctx context.Context) (int, error) {
	queues, err := q.ledger.Queues(ctx, q.who.Environment)
	count := 0
	for _, queue := range queues {
		for state, runs := range queue.States {
			if !state.Over() {
				count += runs
			}
		}
	}
	return count, err
}

// Leader is nobody: every server ticks.
func (q *tideQueue) Leader(context.Context) (string, error) { return "", nil }

func (q *tideQueue) Close() error {
	err := q.stop()
	if closing := q.ledger.Close(); err == nil {
		err = closing
	}
	return err
}
