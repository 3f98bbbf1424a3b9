package process

import (
	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine"
	"github.com/springtide/springtide/internal/engine/process/order"
)

// end is how a process came to its end.
type end struct {
	// known says that the exit status is; neverBegan, that the command was not
	// started at all, because the engine died over it.
	known, neverBegan bool
	code              int
	reason            string
	timedOut          bool
}

// collect cleans up after a process that is dead and says how it ended.
func (e *Engine) collect(process *running, place folder, attempt int, s spec) end {
	process.sweep()
	outOfMemory := process.group.outOfMemory() > 0
	process.group.remove()
	process.close()
	e.removeCredentials(s)
	if s.Slot != 0 {
		e.network.detach(s.Slot)
	}
	if status, ok := place.status(0); ok && status.Failure != "" {
		return end{neverBegan: true}
	}
	limits, command := s.Group.Template.Process.Limits, e.commandOf(s)
	if s.Task != nil {
		limits = s.Task.Template.Process.Limits
	}
	status, known := place.status(attempt)
	switch {
	case known:
		return explain(status, outOfMemory, limits, command)
	case process.code >= 0:
		// The init came to its own end but could not write it down.
		status = order.Status{Attempt: attempt, Code: process.code}
		if process.code > 128 {
			status.Signal = process.code - 128
		}
		return explain(status, outOfMemory, limits, command)
	}
	reason := "was killed together with its init"
	if outOfMemory {
		reason = engine.MemoryReason(limits)
	}
	return end{reason: reason}
}

// explain puts a status into words.
func explain(status order.Status, outOfMemory bool, limits springtide.Limits, command string) end {
	result := end{known: true, code: status.Code, timedOut: status.TimedOut}
	if status.Signal != 0 {
		result.code = 128 + status.Signal
	}
	if status.Failure != "" {
		result.reason = "could not be started: " + status.Failure
	} else {
		result.reason = engine.ExitReason(status.Code, status.Signal, outOfMemory, limits, command)
	}
	return result
}
