package jobs

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// Validator is what an [Executor] may implement besides, to refuse a payload
// when it is enqueued. Errors are of kind Invalid.
type Validator interface {
	Validate(payload json.RawMessage) error
}

// Enqueue is [Enqueuer.Enqueue]. What a job leaves out is filled in; what nobody
// would carry out is Invalid.
func (s *Service) Enqueue(ctx context.Context, id springtide.EnvironmentID, all []springtide.Job, batch *Batch) ([]Enqueued, error) {
	all = slices.Clone(all)
	for i := range all {
		if err := s.complete(id, &all[i]); err != nil {
			return nil, err
		}
	}
	if batch != nil && batch.Done != nil {
		done := *batch.Done
		if err := s.complete(id, &done); err != nil {
			return nil, err
		}
		batch = &Batch{ID: batch.ID, Done: &done}
	}
	enqueued, err := s.ledger.Enqueue(ctx, id, all, batch)
	if err != nil {
		return nil, err
	}
	s.enqueued(id, all, enqueued)
	return enqueued, nil
}

// complete fills in what a job leaves out, and checks whether anybody would
// carry it out. Everything else of it is the ledger's to check.
func (s *Service) complete(id springtide.EnvironmentID, job *springtide.Job) error {
	if job.Queue == "" {
		job.Queue = springtide.DefaultQueue
	}
	if job.Kind == "" {
		job.Kind = springtide.RunCommand
	}
	if job.Kind == springtide.RunCommand {
		return s.served(id, *job)
	}
	executor := s.options.Executors[job.Kind]
	if executor == nil {
		return springtide.Errorf(springtide.Invalid, "nothing carries out jobs of kind %q here", job.Kind).WithHint("%s", s.kinds())
	}
	if validator, ok := executor.(Validator); ok {
		return validator.Validate(job.Payload)
	}
	return nil
}

func (s *Service) kinds() string {
	names := []string{string(springtide.RunCommand)}
	for kind := range s.options.Executors {
		names = append(names, string(kind))
	}
	slices.Sort(names)
	return "there are: " + strings.Join(names, ", ")
}

// served refuses a queue that no worker of the environment takes runs from, and
// a time limit that its workers would not outlast: a deploy must not cut it short.
func (s *Service) served(id springtide.EnvironmentID, job springtide.Job) error {
	queues, limited := s.options.Served(id)
	longest, served := queues[job.Queue]
	switch {
	case !limited:
		return nil
	case len(queues) == 0:
		return springtide.Errorf(springtide.Invalid, "no worker of %s takes runs from the queue %q", id, job.Queue).
			WithHint("it has no worker at all: give a process `queues` in the manifest, and deploy")
	case !served:
		return springtide.Errorf(springtide.Invalid, "no worker of %s takes runs from the queue %q", id, job.Queue).
			WithHint("its workers serve: %s", list(slices.Sorted(maps.Keys(queues))))
	case longest > 0 && job.Timeout > longest:
		return springtide.Errorf(springtide.Invalid, "a timeout of %s is longer than what runs of the queue %q are given, %s", job.Timeout, job.Queue, longest).
			WithHint("set a longer timeout of its worker in the manifest, and deploy")
	}
	return nil
}

func list(queues []springtide.QueueName) string {
	names := make([]string, len(queues))
	for i, queue := range queues {
		names[i] = string(queue)
	}
	return strings.Join(names, ", ")
}

// enqueued wakes whoever is to carry out what was enqueued.
func (s *Service) enqueued(id springtide.EnvironmentID, all []springtide.Job, enqueued []Enqueued) {
	type place struct {
		id    springtide.EnvironmentID
		queue springtide.QueueName
	}
	counts := map[place]int{}
	for i, job := range all {
		at := time.Now().Add(job.Delay)
		if job.RunAt.After(at) {
			at = job.RunAt
		}
		switch {
		case enqueued[i].Existing:
		case time.Until(at) > 0:
			s.alarm.by(at)
		case job.Kind == springtide.RunCommand:
			counts[place{id, job.Queue}]++
		default:
			counts[place{queue: job.Queue}]++
		}
	}
	for place, count := range counts {
		s.lobby.wake(place.id, place.queue, count)
	}
	s.stale()
}
