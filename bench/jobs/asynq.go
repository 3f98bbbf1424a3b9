package main

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/hibiken/asynq"
	"golang.org/x/sync/errgroup"
)

// The types of asynq's tasks.
const (
	asynqJob  = "job"
	asynqSlot = "slot"
)

// asynqQueue is asynq. It looks for work each second unless told otherwise; here
// it looks a hundred times a second.
type asynqQueue struct {
	opening
	redis     asynq.RedisClientOpt
	client    *asynq.Client
	inspector *asynq.Inspector
}

func openAsynq(_ context.Context, o opening) (queue, error) {
	redis := asynq.RedisClientOpt{Network: "unix", Addr: o.Address, PoolSize: o.Workers + 20}
	return &asynqQueue{opening: o, redis: redis, client: asynq.NewClient(redis), inspector: asynq.NewInspector(redis)}, nil
}

// Enqueue makes many calls at once, since asynq has none for several tasks.
func (q *asynqQueue) Enqueue(ctx context.Context, first, count int) error {
	var calls errgroup.Group
	for n := first; n < first+count; n++ {
		calls.Go(func() error {
			_, err := q.client.EnqueueContext(ctx, asynq.NewTask(asynqJob, binary.BigEndian.AppendUint64(nil, uint64(n))))
			return err
		})
	}
	return calls.Wait()
}

func (q *asynqQueue) Work(ctx context.Context, do worker) error {
	if q.Scheduled && q.Scheduler {
		scheduler := asynq.NewScheduler(q.redis, &asynq.SchedulerOpts{Logger: silent{}})
		if _, err := scheduler.Register("@every "+slotEvery.String(), asynq.NewTask(asynqSlot, nil)); err != nil {
			return err
		}
		if err := scheduler.Start(); err != nil {
			return err
		}
		defer scheduler.Shutdown()
	}
	server := asynq.NewServer(q.redis, asynq.Config{
		Concurrency: q.Workers, TaskCheckInterval: 10 * time.Millisecond, DelayedTaskCheckInterval: time.Second, Logger: silent{},
	})
	err := server.Start(asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		if task.Type() == asynqJob {
			do.job(int(binary.BigEndian.Uint64(task.Payload())))
			return nil
		}
		id, _ := asynq.GetTaskID(ctx)
		do.slot(id)
		return nil
	}))
	if err != nil {
		return err
	}
	<-ctx.Done()
	server.Shutdown()
	return nil
}

func (q *asynqQueue) Unfinished(context.Context) (int, error) {
	info, err := q.inspector.GetQueueInfo("default")
	if errors.Is(err, asynq.ErrQueueNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Pending + info.Active + info.Scheduled + info.Retry, nil
}

// Leader is the process that was chosen to keep the schedule: asynq documents
// that there must be one only.
func (q *asynqQueue) Leader(context.Context) (string, error) {
	if q.Scheduler {
		return q.Name, nil
	}
	return "", nil
}

func (q *asynqQueue) Close() error { return errors.Join(q.client.Close(), q.inspector.Close()) }

// silent is a logger that says nothing.
type silent struct{}

func (silent) Debug(...any) {}
func (silent) Info(...any)  {}
func (silent) Warn(...any)  {}
func (silent) Error(...any) {}
func (silent) Fatal(...any) {}
