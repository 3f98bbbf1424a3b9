package jobs

import (
	"time"

	"github.com/springtide/springtide"
)

// Observer is told what happens, for metrics. Implemented by observe.Metrics.
type Observer interface {
	// RunClaimed tells of an attempt that this server leased, and for how long the
	// run could have been claimed before.
	RunClaimed(run springtide.Run, waited time.Duration)
	// AttemptOver tells of an outcome that was accepted. The queue is empty and
	// took is 0 if the attempt was leased through another server.
	AttemptOver(id springtide.EnvironmentID, queue springtide.QueueName, verdict Verdict, took time.Duration)
	// JobHappened tells what the ledger told this server.
	JobHappened(happened Happened)
}

// nobody observes nothing.
type nobody struct{}

func (nobody) RunClaimed(springtide.Run, time.Duration) {}

func (nobody) AttemptOver(springtide.EnvironmentID, springtide.QueueName, Verdict, time.Duration) {}

func (nobody) JobHappened(Happened) {}
