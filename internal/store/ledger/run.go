package ledger

import (
	"encoding/json"

	"github.com/springtide/springtide"
)

// runColumns are what scanRun reads, of the table runs; runFrom joins it with
// the names that they are followed by.
const (
	runColumns = `runs.id, runs.kind, runs.state, runs.command, runs.priority, runs.unique_key, runs.schedule, runs.slot, runs.batch,
		runs.attempt, runs.failures, runs.attempts, runs.fence, runs.timeout, runs.on_lost, runs.runner, runs.release_number,
		runs.created, runs.run_at, runs.claimed, runs.started, runs.finished, runs.start_by, runs.late, runs.cancelling,
		runs.percent, runs.message, runs.reason, runs.exit_code`
	runNames = `e.app, e.name, q.name`
	runFrom  = ` FROM runs JOIN queues q ON q.id = runs.queue JOIN environments e ON e.id = runs.environment AND e.forgotten = 0 `
	// longColumns are left out of listings.
	longColumns = `runs.payload, runs.result, runs.output`
)

// scanRun reads runColumns, and what else is given after them.
func scanRun(r row, more ...any) (run springtide.Run, err error) {
	var id, slot, timeout, created, runAt, claimed, started, finished, startBy int64
	err = r.Scan(append([]any{
		&id, &run.Kind, &run.State, &run.Command, &run.Priority, &run.Key, &run.Schedule, &slot, &run.Batch,
		&run.Attempt, &run.Failures, &run.Attempts, &run.Fence, &timeout, &run.OnLost, &run.Runner, &run.Release,
		&created, &runAt, &claimed, &started, &finished, &startBy, &run.Late, &run.Cancelling,
		&run.Progress.Percent, &run.Progress.Message, &run.Reason, &run.ExitCode,
	}, more...)...)
	run.ID, run.Slot, run.Timeout = runID(id), at(slot), elapsed(timeout)
	run.Created, run.RunAt, run.Claimed, run.Finished, run.StartBy = at(created), at(runAt), at(claimed), at(finished), at(startBy)
	if run.State != springtide.RunClaimed { // until it starts, that is when an earlier attempt did
		run.Started = at(started)
	}
	return run, err
}

// scanListed reads runColumns and runNames.
func scanListed(r row) (springtide.Run, error) {
	var id springtide.EnvironmentID
	var queue springtide.QueueName
	run, err := scanRun(r, &id.App, &id.Name, &queue)
	run.Environment, run.Queue = id, queue
	return run, err
}

// scanWhole reads runColumns, runNames and longColumns.
func scanWhole(r row) (springtide.Run, error) {
	var id springtide.EnvironmentID
	var queue springtide.QueueName
	var payload, result string
	var output string
	run, err := scanRun(r, &id.App, &id.Name, &queue, &payload, &result, &output)
	run.Environment, run.Queue, run.Output = id, queue, output
	run.Payload, run.Result = document(payload), document(result)
	return run, err
}

// document is JSON that is kept as text; empty: none.
func document(kept string) json.RawMessage {
	if kept == "" {
		return nil
	}
	return json.RawMessage(kept)
}

// run gives a run of an environment.
func (tx *transaction) run(id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	return one(tx, noRun(id, run), scanWhole, "SELECT "+runColumns+", "+runNames+", "+longColumns+runFrom+
		"WHERE runs.id = $1 AND e.app = $2 AND e.name = $3", runNumber(run), string(id.App), string(id.Name))
}
