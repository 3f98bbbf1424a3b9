package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/jobs"
)

// producer enqueues jobs, each with a key, as often as it takes until a server
// has acknowledged them, and writes down which were.
type producer struct {
	name   string
	random *rand.Rand
	client *client
	notes  *os.File
	// commands is how many of a thousand jobs are for tide runner.
	commands int
	// early says that there is time left for what takes the longest.
	early bool
}

// produce enqueues so many jobs, spread over a time. What is wrong with the jobs
// themselves is an error.
func (p *producer) produce(ctx context.Context, count int, over time.Duration, total *atomic.Int64) error {
	began := time.Now()
	for made, number := 0, 0; made < count; number++ {
		most := int(float64(count)*float64(time.Since(began))/float64(over)) - made
		if most < 100 {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		most = min(most, 500, count-made)
		size := most/2 + p.random.IntN(most/2+1)
		p.early = made < count*3/4
		if err := p.batch(ctx, fmt.Sprintf("%s-%d", p.name, number), size); err != nil {
			return err
		}
		singles := p.random.IntN(6)
		for i := range singles {
			if err := p.single(ctx, fmt.Sprintf("%s-%d-single-%d", p.name, number, i)); err != nil {
				return err
			}
		}
		made += size + singles
		total.Add(int64(size + singles))
	}
	return nil
}

// batch enqueues many, and one for when they are over.
func (p *producer) batch(ctx context.Context, name string, size int) error {
	done := p.job(name + "-done")
	request := api.BatchRequest{ID: name, Done: &done}
	for i := range size {
		request.Jobs = append(request.Jobs, p.job(fmt.Sprintf("%s-%d", name, i)))
	}
	var answer api.NewBatch
	if err := p.client.ask(ctx, "batches", request, &answer); err != nil {
		return fmt.Errorf("batch %s: %w", name, err)
	}
	if answer.ID != name || len(answer.Runs) != size {
		return fmt.Errorf("batch %s of %d jobs became %s with %d", name, size, answer.ID, len(answer.Runs))
	}
	var notes strings.Builder
	fmt.Fprintln(&notes, "batch", name)
	for i, job := range request.Jobs {
		fmt.Fprintln(&notes, "job", job.Key, answer.Runs[i].Run)
	}
	return p.note(notes.String())
}

// single enqueues one, now and then twice.
func (p *producer) single(ctx context.Context, key string) error {
	job := p.job(key)
	var answer, again jobs.Enqueued
	if err := p.client.ask(ctx, "jobs", job, &answer); err != nil {
		return fmt.Errorf("job %s: %w", key, err)
	}
	if p.random.IntN(4) == 0 {
		if err := p.client.ask(ctx, "jobs", job, &again); err != nil {
			return fmt.Errorf("job %s, the second time: %w", key, err)
		}
		if again.Run != answer.Run || !again.Existing {
			return fmt.Errorf("the key %s gave run %s, and %s the second time", key, answer.Run, again.Run)
		}
	}
	return p.note(fmt.Sprintln("job", key, answer.Run))
}

// note writes down what was acknowledged, for whatever becomes of us.
func (p *producer) note(lines string) error {
	_, err := p.notes.WriteString(lines)
	return errors.Join(err, p.notes.Sync())
}

// job makes up a job.
func (p *producer) job(key string) api.JobRequest {
	job, do := api.JobRequest{Key: key, Queue: bulkQueue}, task{Expect: "succeeded"}
	switch dice := p.random.IntN(1000); {
	case dice < p.commands:
		job.Queue = commandsQueue
		kind := kinds[p.random.IntN(len(kinds))]
		job.Command, job.TimeoutSeconds, job.OnLost, job.Attempts = "./task.sh "+kind.name, kind.timeout, kind.onLost, kind.attempts
		do.Expect = kind.expect
	case dice < 40:
		job.Queue = limitedQueue
	case dice < 120:
		do.Fail = 1
	case dice < 130:
		do.Expect, do.Fail = "dead", -1
	case dice < 150:
		job.OnLost, do.Expect, do.Milliseconds = springtide.LostFail, "over", 20
	case dice < 170:
		do.Milliseconds = p.random.IntN(3000)
	case dice < 173:
		do.Milliseconds = 12_000 + p.random.IntN(6000) // needs heartbeats
	case dice < 175 && p.early:
		do.Silent, do.Milliseconds = true, 30_000
	case dice < 190:
		job.DelaySeconds = 2 * p.random.Float64()
	default:
		job.Priority, do.Milliseconds = p.random.IntN(5)-2, p.random.IntN(30)
	}
	job.Payload, _ = json.Marshal(do) // it has nothing that cannot be JSON
	return job
}
