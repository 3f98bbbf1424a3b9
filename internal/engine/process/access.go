package process

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/springtide/springtide"
)

// Subject is an instance or a task that is about to start.
type Subject struct {
	Environment springtide.EnvironmentID
	Release     int
	// Generation, Process and Instance are those of an instance; Task is the ID of
	// a task.
	Generation int
	Process    springtide.ProcessName
	Instance   springtide.InstanceID
	Task       string
}

func (s spec) subject() Subject {
	if s.Task != nil {
		return Subject{Environment: s.Task.Environment, Release: s.Task.Release, Task: s.Task.ID}
	}
	id := s.Group.ID
	return Subject{Environment: id.Environment, Release: id.Release, Generation: id.Generation, Process: id.Process, Instance: s.Instance}
}

// Knows reports whether a task was begun and is not forgotten.
func (e *Engine) Knows(_ context.Context, task string) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tasks[task] != nil {
		return true, nil
	}
	_, err := os.Stat(filepath.Join(e.options.Data, "tasks", task))
	return err == nil, nil
}

// Host gives the machine's address as instances reach it, and nobody from
// elsewhere does: that of the bridge, which is made if it is not there, or of
// the loopback interface.
func (e *Engine) Host() (netip.Addr, error) {
	if e.isolation.Network != networkNamespace {
		return loopback, nil
	}
	if err := e.network.ensure(); err != nil {
		return netip.Addr{}, err
	}
	return e.network.address(1), nil
}
