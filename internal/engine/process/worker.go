package process

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// isRunner reports whether the process's command is started by `tide runner`,
// once for each run.
func isRunner(process springtide.Process) bool { return process.Worker != nil && !process.Worker.Own }

// commandOf is what the init is to run.
func (e *Engine) commandOf(s spec) string {
	switch process := s.Group.Template.Process; {
	case s.Task != nil:
		return s.Task.Command
	case isRunner(process):
		return "exec '" + strings.ReplaceAll(e.programs.tide(), "'", `'\''`) + "' runner"
	default:
		return process.Command
	}
}

// workerVariables tell a worker, or its runner, what it is to do.
func workerVariables(process springtide.Process) map[string]string {
	worker := process.Worker
	if worker == nil {
		return nil
	}
	queues := make([]string, len(worker.Queues))
	for n, queue := range worker.Queues {
		queues[n] = string(queue)
	}
	variables := map[string]string{
		"TIDE_QUEUES": strings.Join(queues, ","),
		"TIDE_SLOTS":  strconv.Itoa(max(process.Scale.Concurrency, 1)),
	}
	if isRunner(process) {
		variables["TIDE_RUNNER_COMMAND"] = process.Command
		variables["TIDE_RUNNER_TIMEOUT"] = worker.Timeout.String()
		variables["TIDE_RUNNER_GRACE"] = worker.Grace.String()
	}
	return variables
}

// graceOf is how long the process may go on after SIGTERM. A worker finishes
// what it has begun.
func graceOf(process springtide.Process) time.Duration {
	grace := cmp.Or(max(process.Grace, 0), standardGrace)
	if worker := process.Worker; worker != nil {
		return max(grace, worker.Longest()+worker.Grace+standardGrace)
	}
	return grace
}
