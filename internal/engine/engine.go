// Package engine is what runs instances. Package process runs them as
// processes of this machine, package kubernetes as pods of a cluster; package enginetest is the conformance suite that
// every implementation passes.
package engine

import (
	"context"
	"io"
	"iter"

	"github.com/springtide/springtide"
)

// Engine runs groups of instances. It is level-triggered: it is told what
// should be, and makes it so until it is told otherwise. All methods may be
// called at the same time.
type Engine interface {
	// Apply makes a group have that many replicas. It returns when the wish is
	// taken, not when it is fulfilled. It is idempotent. Replicas = 0 keeps the
	// group, scaled to zero. A group whose ID is known keeps its template.
	Apply(ctx context.Context, group springtide.Group) error
	// Remove retires every instance of the group and forgets it. It returns when
	// nothing of it is left, or ctx ends; then it goes on by itself. An unknown
	// group is no error.
	Remove(ctx context.Context, id springtide.GroupID) error
	// Watch gives what is observed: once at once, then after every change, the
	// newest only. It ends with ctx.
	Watch(ctx context.Context) iter.Seq2[springtide.Snapshot, error]
	// Exec starts the task, or attaches to it if its ID is known, and waits for
	// its end. Cancelling ctx lets go of the task without ending it.
	Exec(ctx context.Context, task springtide.Task) (springtide.Exit, error)
	// Logs gives lines of output as JSON ([springtide.LogLine]), one a line, in
	// order of time. With Follow it goes on until it is closed or ctx ends.
	Logs(ctx context.Context, query springtide.LogQuery) (io.ReadCloser, error)
}

// Router is what an engine needs of the edges in order to stop an instance that
// nobody is talking to any more. Implemented by routing.Publisher.
type Router interface {
	// LetGo is called once the instance is published as retiring. It returns when
	// every live edge has acknowledged a table in which the instance gets no new
	// request and the plain requests it had have ended, or when ctx ends (the
	// engine gives it the process's Drain).
	LetGo(ctx context.Context, id springtide.InstanceID) error
	// CloseStreams makes the edges end what is still open on the instance
	// (WebSocket close 1001, end of an event stream). It returns when nothing is
	// open, or when ctx ends.
	CloseStreams(ctx context.Context, id springtide.InstanceID) error
	// Load is how much is open on the instance, where a stream weighs more than
	// many requests; engines retire the least loaded first.
	Load(id springtide.InstanceID) int
}
