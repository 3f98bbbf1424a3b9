package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// Result is what a run of kind backup leaves.
type Result struct {
	ID string `json:"id"`
	// Size is what the target holds of it, Plain what it was before; in bytes.
	Size    int64   `json:"size"`
	Plain   int64   `json:"plain"`
	Seconds float64 `json:"seconds"`
	Begin   string  `json:"begin,omitempty"`
	End     string  `json:"end,omitempty"`
}

// Execute carries out runs of kind backup and drill. It implements
// jobs.Executor. Two attempts of one run do not disturb each other.
func (k *Keeper) Execute(ctx context.Context, run springtide.Run) jobs.Outcome {
	var task springtide.BackupTask
	if err := json.Unmarshal(run.Payload, &task); err != nil || task.Of == "" {
		return jobs.Outcome{Verdict: jobs.Failed, Final: true, Reason: "the run does not say what it is to keep safe"}
	}
	of := Subject{run.Environment, task.Of}
	began := time.Now()
	var result any
	var err error
	switch {
	case run.Kind == springtide.RunDrill:
		result, err = k.drill(ctx, run, of)
	case task.Of == springtide.BackupFiles:
		result, err = k.backupFiles(ctx, run, of)
	default:
		result, err = k.backupService(ctx, run, of)
	}
	if err == nil && run.Kind == springtide.RunBackup {
		err = removeFiles(k.failureFile(of))
	}
	if err != nil {
		return k.failed(ctx, run, of, err)
	}
	encoded, err := json.Marshal(result)
	if err != nil || len(encoded) > springtide.ResultLimit {
		encoded = nil
	}
	k.options.Logger.Info("done", "kind", run.Kind, "of", of, "took", time.Since(began).Round(time.Millisecond))
	return jobs.Outcome{Verdict: jobs.Succeeded, Result: encoded}
}

// failed says what becomes of a run that did not do what it should.
func (k *Keeper) failed(ctx context.Context, run springtide.Run, of Subject, err error) jobs.Outcome {
	if ctx.Err() != nil { // whoever ended it knows what becomes of it
		return jobs.Outcome{Verdict: jobs.Failed, Reason: context.Cause(ctx).Error()}
	}
	k.happened(of, string(run.Kind)+".failed", fmt.Sprintf("the %s of %s failed: %v", run.Kind, of, err), map[string]string{"run": string(run.ID)})
	if run.Kind == springtide.RunBackup {
		if err := k.keepFailure(of, err); err != nil {
			k.options.Logger.Warn("a failure could not be written down", "of", of, "error", err)
		}
	}
	kind := springtide.KindOf(err)
	shown := run.Kind == springtide.RunDrill && kind == springtide.Failed // it would show the same again
	output := err.Error() + "\n"
	if said, is := errors.AsType[*springtide.Error](err); is && len(said.Lines) > 0 {
		output += strings.Join(said.Lines, "\n") + "\n"
	}
	return jobs.Outcome{
		Verdict: jobs.Failed, Reason: err.Error(), Output: output,
		Final: kind == springtide.Invalid || kind == springtide.Denied || shown,
	}
}

// keepFailure writes down how a backup failed, until one succeeds.
func (k *Keeper) keepFailure(of Subject, failure error) error {
	if err := os.MkdirAll(k.options.Drills.Folder, 0o700); err != nil {
		return unavailable(err)
	}
	return keepState(k.failureFile(of), Failure{time.Now().UTC(), failure.Error()})
}

// Validate implements jobs.Validator: the payload says what is meant.
func (k *Keeper) Validate(payload json.RawMessage) error {
	var task springtide.BackupTask
	if err := json.Unmarshal(payload, &task); err != nil || task.Of == "" {
		return springtide.Errorf(springtide.Invalid, "the run does not say what it is to keep safe")
	}
	return nil
}
