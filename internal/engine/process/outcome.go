package process

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
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
		reason = memoryReason(limits)
	}
	return end{reason: reason}
}

// explain puts a status into words.
func explain(status order.Status, outOfMemory bool, limits springtide.Limits, command string) end {
	result := end{known: true, code: status.Code, timedOut: status.TimedOut}
	if status.Signal != 0 {
		result.code = 128 + status.Signal
	}
	switch {
	case status.Failure != "":
		result.reason = "could not be started: " + status.Failure
	case outOfMemory && result.code != 0:
		result.reason = memoryReason(limits)
	case status.Signal != 0:
		result.reason = "killed by " + unix.SignalName(unix.Signal(status.Signal))
	case status.Code == 127:
		result.reason = "command not found: " + program(command)
	case status.Code == 126:
		result.reason = "not executable: " + program(command)
	default:
		result.reason = fmt.Sprintf("exit status %d", status.Code)
	}
	return result
}

func memoryReason(limits springtide.Limits) string {
	if limits.Memory == 0 {
		return "killed: out of memory"
	}
	return fmt.Sprintf("killed: out of memory (limit %s)", size(limits.Memory))
}

// size puts a number of bytes into words.
func size(bytes int64) string {
	if bytes%(1<<30) == 0 {
		return fmt.Sprintf("%d GiB", bytes>>30)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// program gives the word of a command line that names the program, as far as
// that can be told without being a shell.
func program(command string) string {
	for word := range strings.FieldsSeq(command) {
		if name, _, assigned := strings.Cut(word, "="); word != "exec" && !(assigned && !strings.ContainsAny(name, "/.")) {
			return word
		}
	}
	return command
}
