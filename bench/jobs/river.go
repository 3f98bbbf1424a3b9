package main

import (
	"context"
	"database/sql" //nolint:depguard // River's driver for SQLite is given a pool
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	_ "modernc.org/sqlite"
)

// What River's questions are answered with.
const (
	riverUnfinished = "select count(*) from river_job where state in ('available', 'pending', 'retryable', 'running', 'scheduled')"
	riverLeader     = "select coalesce((select leader_id from river_leader), '')"
)

// riverQueue is River, with the settings of its own benchmark: the defaults
// fetch ten times a second at most.
type riverQueue[T any] struct {
	client *river.Client[T]
	do     worker
	row    func(ctx context.Context, query string, value any) error
	close  func() error
}

func openRiverPostgres(ctx context.Context, o opening) (queue, error) {
	pool, err := pgxpool.New(ctx, o.Address+"&pool_max_conns=20")
	if err != nil {
		return nil, err
	}
	q, err := newRiver(ctx, riverpgxv5.New(pool), o)
	if err != nil {
		return nil, err
	}
	q.row = func(ctx context.Context, query string, value any) error { return pool.QueryRow(ctx, query).Scan(value) }
	q.close = func() error { pool.Close(); return nil }
	return q, nil
}

// openRiverSQLite has one connection, as River's driver documents.
func openRiverSQLite(ctx context.Context, o opening) (queue, error) {
	pool, err := sql.Open("sqlite", "file:"+o.Address+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(1)
	q, err := newRiver(ctx, riversqlite.New(pool), o)
	if err != nil {
		return nil, err
	}
	q.row = func(ctx context.Context, query string, value any) error {
		return pool.QueryRowContext(ctx, query).Scan(value)
	}
	q.close = pool.Close
	return q, nil
}

func newRiver[T any](ctx context.Context, driver riverdriver.Driver[T], o opening) (*riverQueue[T], error) {
	logger := slog.New(slog.DiscardHandler)
	if o.Fresh {
		migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: logger})
		if err != nil {
			return nil, err
		}
		if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
			return nil, err
		}
	}
	q := &riverQueue[T]{}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(_ context.Context, job *river.Job[riverJob]) error {
		q.do.job(job.Args.N)
		return nil
	}))
	river.AddWorker(workers, river.WorkFunc(func(_ context.Context, job *river.Job[riverSlot]) error {
		q.do.slot(strconv.FormatInt(job.ID, 10))
		return nil
	}))
	config := &river.Config{
		ID: o.Name, Logger: logger, Workers: workers,
		FetchCooldown: 2 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond,
		Queues:     map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: o.Workers}},
		JobTimeout: 10 * time.Second, RescueStuckJobsAfter: 30 * time.Second, // as long as our leases; the default is an hour
	}
	if o.Scheduled {
		config.PeriodicJobs = []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(slotEvery),
			func() (river.JobArgs, *river.InsertOpts) { return riverSlot{}, nil }, nil)}
	}
	var err error
	q.client, err = river.NewClient(driver, config)
	return q, err
}

type riverJob struct {
	N int `json:"n"`
}

func (riverJob) Kind() string { return "job" }

type riverSlot struct{}

func (riverSlot) Kind() string { return "slot" }

func (q *riverQueue[T]) Enqueue(ctx context.Context, first, count int) error {
	if count == 1 {
		_, err := q.client.Insert(ctx, riverJob{N: first}, nil)
		return err
	}
	jobs := make([]river.InsertManyParams, count)
	for n := range jobs {
		jobs[n].Args = riverJob{N: first + n}
	}
	_, err := q.client.InsertManyFast(ctx, jobs)
	return err
}

func (q *riverQueue[T]) Work(ctx context.Context, do worker) error {
	q.do = do
	if err := q.client.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	<-ctx.Done()
	return q.client.Stop(context.WithoutCancel(ctx))
}

func (q *riverQueue[T]) Unfinished(ctx context.Context) (count int, err error) {
	err = q.row(ctx, riverUnfinished, &count)
	return count, err
}

func (q *riverQueue[T]) Leader(ctx context.Context) (name string, err error) {
	err = q.row(ctx, riverLeader, &name)
	return name, err
}

func (q *riverQueue[T]) Close() error { return q.close() }
