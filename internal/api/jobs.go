package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// JobRequest is a job as it is asked for.
type JobRequest struct {
	Queue          springtide.QueueName `json:"queue,omitempty" maxLength:"40" pattern:"^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$" doc:"default if none is named"`
	Kind           springtide.RunKind   `json:"kind,omitempty" enum:"command,http,mail" doc:"command if none is named"`
	Command        string               `json:"command,omitempty" doc:"run by sh in the release; that of the worker if none is named"`
	Payload        json.RawMessage      `json:"payload,omitempty" doc:"any JSON, at most 256 KiB: of http the request, of mail the mail"`
	Priority       int                  `json:"priority,omitempty" minimum:"-100" maximum:"100" doc:"a lower number goes first; one step is worth a minute of waiting"`
	RunAt          time.Time            `json:"run_at,omitzero" doc:"the earliest time"`
	DelaySeconds   float64              `json:"delay_seconds,omitempty" minimum:"0" maximum:"315360000" doc:"instead of run_at"`
	Key            string               `json:"key,omitempty" maxLength:"200" doc:"the same key gives the same run"`
	KeyScope       springtide.KeyScope  `json:"key_scope,omitempty" enum:"kept,active" doc:"as long as the run is remembered, which is meant if none is named, or until it is over"`
	Attempts       int                  `json:"attempts,omitempty" minimum:"1" maximum:"1000" doc:"how often it is tried at most; as the queue says if it is not named"`
	TimeoutSeconds float64              `json:"timeout_seconds,omitempty" minimum:"0" maximum:"31536000" doc:"how long one attempt may take; as the worker says if it is not named"`
	OnLost         springtide.OnLost    `json:"on_lost,omitempty" enum:"retry,fail" doc:"what becomes of it if its runner is lost after its start"`
}

// JobRequestOf gives a job as it is asked for over HTTP.
func JobRequestOf(job springtide.Job) JobRequest {
	return JobRequest{
		Queue: job.Queue, Kind: job.Kind, Command: job.Command, Payload: job.Payload, Priority: job.Priority,
		RunAt: job.RunAt, DelaySeconds: job.Delay.Seconds(), Key: job.Key, KeyScope: job.KeyScope,
		Attempts: job.Attempts, TimeoutSeconds: job.Timeout.Seconds(), OnLost: job.OnLost,
	}
}

func (r JobRequest) job() (springtide.Job, error) {
	job := springtide.Job{
		Queue: r.Queue, Kind: r.Kind, Command: r.Command, Payload: r.Payload, Priority: r.Priority,
		RunAt: r.RunAt, Delay: duration(r.DelaySeconds), Key: r.Key, KeyScope: r.KeyScope,
		Attempts: r.Attempts, Timeout: duration(r.TimeoutSeconds), OnLost: r.OnLost,
	}
	switch {
	case !r.RunAt.IsZero() && r.DelaySeconds > 0:
		return job, springtide.Errorf(springtide.Invalid, "a job has either run_at or delay_seconds, not both")
	case len(r.Payload) > springtide.PayloadLimit:
		return job, springtide.Errorf(springtide.Invalid, "the payload has %d KiB, the limit is %d KiB", len(r.Payload)>>10, springtide.PayloadLimit>>10).
			WithHint("put it where the job can read it, and pass on its name")
	}
	return job, nil
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

type enqueueInput struct {
	EnvironmentPath
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"200" doc:"as key in the body"`
	Body           JobRequest
}

// enqueued is answered with 201, or with 200 if there was a run of the key.
type enqueued struct {
	Status int
	Body   jobs.Enqueued
}

func (s *Server) enqueue(ctx context.Context, in *enqueueInput) (*enqueued, error) {
	switch {
	case in.Body.Key == "":
		in.Body.Key = in.IdempotencyKey
	case in.IdempotencyKey != "" && in.IdempotencyKey != in.Body.Key:
		return nil, problemOf(springtide.Errorf(springtide.Invalid, "the header Idempotency-Key and the field key differ"))
	}
	job, err := in.Body.job()
	if err != nil {
		return nil, problemOf(err)
	}
	all, err := s.platform.Jobs.Enqueue(ctx, in.id(), []springtide.Job{job}, nil)
	if err != nil {
		return nil, problemOf(err)
	}
	answer := &enqueued{Status: http.StatusCreated, Body: all[0]}
	if answer.Body.Existing {
		answer.Status = http.StatusOK
	}
	return answer, nil
}

// registerEnqueue adds the one operation that has two ways to succeed.
func (s *Server) registerEnqueue(r huma.API, path string) {
	op := documented(r, operation("POST", path, "enqueue", "Make a run of a job; 200 if its key has one already", http.StatusCreated))
	op.Responses["200"] = jsonOf[jobs.Enqueued](r, "The run that has the key")
	huma.Register(r, op, s.enqueue)
}

// BatchRequest is jobs that are enqueued together, all or none.
type BatchRequest struct {
	ID   string       `json:"id,omitempty" maxLength:"100" doc:"made up if none is named"`
	Jobs []JobRequest `json:"jobs" minItems:"1" maxItems:"10000"`
	Done *JobRequest  `json:"done,omitempty" doc:"enqueued once all are over"`
}

// NewBatch is a batch that was just made; its runs are in the order of the jobs.
type NewBatch struct {
	ID   string          `json:"id"`
	Runs []jobs.Enqueued `json:"runs"`
}

type batchInput struct {
	EnvironmentPath
	Body BatchRequest
}

func (s *Server) enqueueBatch(ctx context.Context, in *batchInput) (NewBatch, error) {
	batch := jobs.Batch{ID: in.Body.ID}
	if batch.ID == "" {
		batch.ID = rand.Text()
	}
	all := make([]springtide.Job, len(in.Body.Jobs))
	for i, request := range in.Body.Jobs {
		job, err := request.job()
		if err != nil {
			return NewBatch{}, springtide.Errorf(springtide.KindOf(err), "jobs[%d]: %w", i, err)
		}
		all[i] = job
	}
	if in.Body.Done != nil {
		done, err := in.Body.Done.job()
		if err != nil {
			return NewBatch{}, springtide.Errorf(springtide.KindOf(err), "done: %w", err)
		}
		batch.Done = &done
	}
	runs, err := s.platform.Jobs.Enqueue(ctx, in.id(), all, &batch)
	return NewBatch{ID: batch.ID, Runs: runs}, err
}

type batchPath struct {
	EnvironmentPath
	Batch string `path:"batch"`
}

func (s *Server) getBatch(ctx context.Context, in *batchPath) (jobs.BatchStatus, error) {
	return s.platform.Ledger.BatchStatus(ctx, in.id(), in.Batch)
}

type jobsInput struct {
	EnvironmentPath
	Queue    springtide.QueueName    `query:"queue"`
	States   []springtide.RunState   `query:"state,explode" enum:"scheduled,waiting,available,claimed,running,succeeded,dead,cancelled,skipped,missed"`
	Schedule springtide.ScheduleName `query:"schedule"`
	Batch    string                  `query:"batch"`
	Before   springtide.RunID        `query:"before" doc:"go on behind this run, the last of the listing before"`
	Most     int                     `query:"most" default:"100" minimum:"1" maximum:"1000"`
}

func (s *Server) listJobs(ctx context.Context, in *jobsInput) ([]springtide.Run, error) {
	return s.platform.Ledger.Runs(ctx, jobs.Query{
		Environment: in.id(), Queue: in.Queue, States: in.States, Schedule: in.Schedule,
		Batch: in.Batch, Before: in.Before, Most: in.Most,
	})
}

// JobPath is the part of a path that names a run.
type JobPath struct {
	EnvironmentPath
	Run springtide.RunID `path:"run"`
}

type getJobInput struct {
	JobPath
	Wait bool `query:"wait" doc:"answer when it is over, or after 30 s"`
}

func (s *Server) getJob(ctx context.Context, in *getJobInput) (springtide.Run, error) {
	run, err := s.platform.Ledger.Run(ctx, in.id(), in.Run)
	if err != nil || !in.Wait || run.State.Over() {
		return run, err
	}
	serving, done := whileServing(ctx)
	defer done()
	limited, cancel := context.WithTimeout(serving, longestWait)
	defer cancel()
	return s.platform.Jobs.WaitRun(limited, in.id(), in.Run)
}

type jobOutputInput struct {
	JobPath
	Follow bool `query:"follow" doc:"go on with what comes until the run is over"`
}

func (s *Server) jobOutput(ctx context.Context, in *jobOutputInput) (func(huma.Context), error) {
	serving, done := whileServing(ctx)
	output, err := s.platform.Jobs.Output(serving, in.id(), in.Run, in.Follow)
	if err != nil {
		done()
		return nil, err
	}
	return func(ctx huma.Context) {
		defer done()
		defer output.Close()
		_, w := humago.Unwrap(ctx)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusOK)
		copyLines(w, output)
	}, nil
}

func (s *Server) cancelJob(ctx context.Context, in *JobPath) (springtide.Run, error) {
	return s.platform.Jobs.Cancel(ctx, in.id(), in.Run)
}

func (s *Server) retryJob(ctx context.Context, in *JobPath) (springtide.Run, error) {
	return s.platform.Jobs.Retry(ctx, in.id(), in.Run)
}

type replayInput struct {
	EnvironmentPath
	Queue springtide.QueueName `query:"queue" doc:"only dead runs of this queue"`
}

// Replayed tells how many dead runs are available again.
type Replayed struct {
	Runs int `json:"runs"`
}

func (s *Server) replayJobs(ctx context.Context, in *replayInput) (Replayed, error) {
	count, err := s.platform.Jobs.Replay(ctx, in.id(), in.Queue)
	return Replayed{Runs: count}, err
}

func (s *Server) listQueues(ctx context.Context, in *EnvironmentPath) ([]jobs.QueueStatus, error) {
	return s.platform.Ledger.Queues(ctx, in.id())
}

type queuePath struct {
	EnvironmentPath
	Queue springtide.QueueName `path:"queue"`
}

func (s *Server) pauseQueue(ctx context.Context, in *queuePath) error {
	return s.platform.Jobs.PauseQueue(ctx, in.id(), in.Queue, true)
}

func (s *Server) resumeQueue(ctx context.Context, in *queuePath) error {
	return s.platform.Jobs.PauseQueue(ctx, in.id(), in.Queue, false)
}
