package main

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pollEvery is how often a poller looks that found nothing, or had no worker free.
const pollEvery = time.Second

// pollerTable is what the poller needs of Cavalcade's.
const pollerTable = `
create table jobs (
	id bigint generated always as identity primary key,
	n int not null,
	nextrun timestamptz not null default now(),
	every interval,
	status text not null default 'waiting'
);
create index on jobs (status, nextrun)`

// poller does what Cavalcade's documentation says of it, on PostgreSQL instead
// of MySQL and with goroutines instead of PHP processes: one loop takes the next
// waiting row, marks it as running, and starts a worker; it sleeps for a second
// if there is none, or no worker is free. A recurring job goes back to waiting
// once it has ended.
type poller struct {
	opening
	pool *pgxpool.Pool
}

func openPoller(ctx context.Context, o opening) (queue, error) {
	pool, err := pgxpool.New(ctx, o.Address+"&pool_max_conns=20")
	if err != nil {
		return nil, err
	}
	q := &poller{o, pool}
	if o.Fresh {
		_, err = pool.Exec(ctx, pollerTable)
		if err == nil && o.Scheduled {
			_, err = pool.Exec(ctx, "insert into jobs (n, every) values (-1, $1)", slotEvery)
		}
	}
	return q, err
}

func (q *poller) Enqueue(ctx context.Context, first, count int) error {
	_, err := q.pool.Exec(ctx, "insert into jobs (n) select generate_series($1::int, $2)", first, first+count-1)
	return err
}

func (q *poller) Work(ctx context.Context, do worker) error {
	always := context.WithoutCancel(ctx)
	free := make(chan struct{}, q.Workers)
	var running sync.WaitGroup
	defer running.Wait()
	for ctx.Err() == nil {
		var job *polled
		if len(free) < cap(free) {
			var err error
			if job, err = q.take(always); err != nil {
				return err
			}
		}
		if job == nil {
			_ = pause(ctx, pollEvery) // the loop sees how it ended
			continue
		}
		free <- struct{}{}
		running.Go(func() {
			defer func() { <-free }()
			if job.n < 0 {
				do.slot(strconv.FormatInt(job.nextrun.UnixMicro(), 10))
			} else {
				do.job(job.n)
			}
			q.over(always, job.id)
		})
	}
	return nil
}

type polled struct {
	id      int64
	n       int
	nextrun time.Time
}

// take gives the next row that is due, and nil if there is none.
func (q *poller) take(ctx context.Context) (*polled, error) {
	for {
		var job polled
		err := q.pool.QueryRow(ctx, "select id, n, nextrun from jobs where nextrun < now() and status = 'waiting' order by nextrun limit 1").
			Scan(&job.id, &job.n, &job.nextrun)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		taken, err := q.pool.Exec(ctx, "update jobs set status = 'running' where id = $1 and status = 'waiting'", job.id)
		if err != nil || taken.RowsAffected() == 1 {
			return &job, err
		}
	}
}

func (q *poller) over(ctx context.Context, id int64) {
	_, _ = q.pool.Exec(ctx, `update jobs set status = case when every is null then 'completed' else 'waiting' end,
		nextrun = nextrun + coalesce(every, '0') where id = $1`, id) // what is not recorded shows as unfinished
}

func (q *poller) Unfinished(ctx context.Context) (count int, err error) {
	err = q.pool.QueryRow(ctx, "select count(*) from jobs where status <> 'completed' and n >= 0").Scan(&count)
	return count, err
}

func (q *poller) Leader(context.Context) (string, error) { return "", nil }

func (q *poller) Close() error { q.pool.Close(); return nil }
