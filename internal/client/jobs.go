package client

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/jobs"
)

// Enqueue makes a run of a job. With a key it asks again while the server is
// away, since that makes no second run.
func (c *Client) Enqueue(ctx context.Context, id springtide.EnvironmentID, job springtide.Job) (answer jobs.Enqueued, err error) {
	try := func() error {
		answer, err = call[jobs.Enqueued](ctx, c, request{method: "POST", path: environmentPath(id, "jobs"), body: api.JobRequestOf(job)})
		return err
	}
	if job.Key == "" {
		err = try()
	} else {
		err = c.patiently(ctx, try)
	}
	return answer, err
}

// Jobs lists runs, the newest first.
func (c *Client) Jobs(ctx context.Context, query jobs.Query) ([]springtide.Run, error) {
	values := url.Values{}
	set(values, "queue", string(query.Queue))
	set(values, "schedule", string(query.Schedule))
	set(values, "batch", query.Batch)
	set(values, "before", string(query.Before))
	for _, state := range query.States {
		values.Add("state", string(state))
	}
	if query.Most > 0 {
		values.Set("most", strconv.Itoa(query.Most))
	}
	return call[[]springtide.Run](ctx, c, request{method: "GET", path: environmentPath(query.Environment, "jobs"), query: values})
}

// Job tells how a run stands.
func (c *Client) Job(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	return c.job(ctx, id, run, nil)
}

func (c *Client) job(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID, query url.Values) (springtide.Run, error) {
	return call[springtide.Run](ctx, c, request{method: "GET", path: environmentPath(id, "jobs", string(run)), query: query})
}

// WaitJob returns when the run is over.
func (c *Client) WaitJob(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (answer springtide.Run, err error) {
	for !answer.State.Over() && err == nil {
		err = c.patiently(ctx, func() (err error) {
			answer, err = c.job(ctx, id, run, url.Values{"wait": {"true"}})
			return err
		})
	}
	return answer, err
}

// JobOutput gives what a run wrote; with follow it goes on until the run is over
// or the connection breaks.
func (c *Client) JobOutput(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID, follow bool) (io.ReadCloser, error) {
	query := url.Values{}
	if follow {
		query.Set("follow", "true")
	}
	response, err := c.send(ctx, request{method: "GET", path: environmentPath(id, "jobs", string(run), "output"), query: query, accept: "text/plain"})
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// followAgain is how long after a broken or ended stream of output it is looked
// for more.
const followAgain = time.Second

// FollowJob writes the output of a run as it comes until the run is over, and
// gives the run as it is then. Each attempt's output is written from its start.
func (c *Client) FollowJob(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID, w io.Writer) (springtide.Run, error) {
	var now springtide.Run
	look := func() (err error) {
		now, err = c.Job(ctx, id, run)
		return err
	}
	if err := look(); err != nil {
		return now, err
	}
	for attempt, written := 1, int64(0); ; {
		if now.Attempt > attempt { // what is read of a run without one is of its first
			attempt, written = now.Attempt, 0
		}
		over := now.State.Over()
		err := c.patiently(ctx, func() error { return c.copyOutput(ctx, id, run, !over, w, &written) })
		if err != nil || over {
			return now, err
		}
		if err := c.patiently(ctx, look); err != nil {
			return now, err
		}
		if !now.State.Over() {
			if err := pause(ctx, followAgain); err != nil {
				return now, err
			}
		}
	}
}

// copyOutput writes what comes behind what was written. A stream that breaks is
// no error: the caller asks again.
func (c *Client) copyOutput(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID, follow bool, w io.Writer, written *int64) error {
	output, err := c.JobOutput(ctx, id, run, follow)
	if err != nil {
		return err
	}
	defer output.Close()
	if _, err := io.CopyN(io.Discard, output, *written); err != nil {
		return nil // it broke off, or there is less than there was
	}
	counted := &countingWriter{Writer: w}
	_, _ = io.Copy(counted, output)
	*written += counted.written
	return errors.Join(counted.err, ctx.Err())
}

// countingWriter counts what it takes, and keeps apart its own errors from those
// of what is read.
type countingWriter struct {
	io.Writer
	written int64
	err     error
}

// Write passes on what is written.
func (w *countingWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	w.written += int64(n)
	w.err = err
	return n, err
}

// CancelJob ends a run, or asks its runner to.
func (c *Client) CancelJob(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	return call[springtide.Run](ctx, c, request{method: "POST", path: environmentPath(id, "jobs", string(run), "cancel")})
}

// RetryJob makes a run available now.
func (c *Client) RetryJob(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	return call[springtide.Run](ctx, c, request{method: "POST", path: environmentPath(id, "jobs", string(run), "retry")})
}

// ReplayJobs retries every dead run of a queue, or of all, and tells how many.
func (c *Client) ReplayJobs(ctx context.Context, id springtide.EnvironmentID, queue springtide.QueueName) (api.Replayed, error) {
	query := url.Values{}
	set(query, "queue", string(queue))
	return call[api.Replayed](ctx, c, request{method: "POST", path: environmentPath(id, "jobs", "replay"), query: query})
}

// Queues tells how the queues stand.
func (c *Client) Queues(ctx context.Context, id springtide.EnvironmentID) ([]jobs.QueueStatus, error) {
	return call[[]jobs.QueueStatus](ctx, c, request{method: "GET", path: environmentPath(id, "queues")})
}

// PauseQueue stops the runs of a queue from being given out, or ends that.
func (c *Client) PauseQueue(ctx context.Context, id springtide.EnvironmentID, queue springtide.QueueName, paused bool) error {
	return c.do(ctx, "POST", environmentPath(id, "queues", string(queue), pauseOrResume(paused)))
}

func pauseOrResume(paused bool) string {
	if paused {
		return "pause"
	}
	return "resume"
}
