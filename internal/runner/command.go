package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/process/order"
	"github.com/springtide/springtide/internal/jobs"
)

// The files in the folder of a run.
const (
	payloadFile  = "payload"
	resultFile   = "result"
	progressFile = "progress"
)

// exitFinal is what a command exits with if another try would fail as well:
// EX_DATAERR of sysexits.h.
const exitFinal = 65

// command is what sh is to run.
func (r *runner) command(leased jobs.LeasedRun) (string, error) {
	command := leased.Command
	if strings.TrimSpace(command) == "" {
		command = r.options.Command
	}
	switch {
	case strings.TrimSpace(command) == "":
		return "", springtide.Errorf(springtide.Invalid, "there is no command: neither the job nor the worker of queue %s has one", leased.Queue)
	case strings.Contains(command, "\x00"):
		return "", springtide.Errorf(springtide.Invalid, "the command has a zero byte in it")
	}
	return command, nil
}

// order is what the init is told.
func (a *attempt) order() order.Order {
	r := a.runner
	command, _ := r.command(a.leased) // it was looked at when the run was leased
	return order.Order{
		Attempt: a.leased.Attempt, Command: command, Dir: r.dir, Env: a.environment(os.Environ()),
		Streams: true, Until: a.until.Load(), Timeout: a.timeout(), Grace: r.options.Grace,
	}
}

// timeout is how long the command may take; 0: as long as it likes.
func (a *attempt) timeout() time.Duration {
	if a.leased.TimeoutSeconds > 0 {
		return seconds(a.leased.TimeoutSeconds)
	}
	return a.runner.options.Timeout
}

// environment is the runner's own, without what is private to it, and what a
// run is told.
func (a *attempt) environment(own []string) []string {
	told := map[string]string{
		"RUN_ID": string(a.leased.Run), "ATTEMPT": strconv.Itoa(a.leased.Attempt),
		"FENCE": strconv.FormatInt(int64(a.leased.Fence), 10), "QUEUE": string(a.leased.Queue),
		"RUN_RESULT": a.file(resultFile), "RUN_PROGRESS": a.file(progressFile), "SCHEDULE": "", "SLOT": "",
	}
	if a.leased.Schedule != "" {
		told["SCHEDULE"], told["SLOT"] = string(a.leased.Schedule), a.leased.Slot.UTC().Format(time.RFC3339)
	}
	all := slices.DeleteFunc(own, func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		_, ours := told[name]
		return ours || slices.Contains(private, name)
	})
	for name, value := range told {
		if value != "" {
			all = append(all, name+"="+value)
		}
	}
	return all
}

// outcome is what the platform is told of the run's end. Known says that the
// status is the init's.
func (a *attempt) outcome(status order.Status, known bool) jobs.Completion {
	c := jobs.Completion{Hold: a.hold(), Verdict: jobs.Failed, ExitCode: status.Code}
	if status.Signal != 0 {
		c.ExitCode = 128 + status.Signal
	}
	switch decided := fate(a.fate.Load()); {
	case decided == fateInterrupted:
		c.Verdict, c.Reason = jobs.Returned, "interrupted: the platform is stopping"
	case decided == fateCancelled:
		c.Reason = "cancelled"
	case status.TimedOut:
		c.Reason = "timed out after " + a.timeout().String()
	case !known:
		c.Reason = "was killed together with its init"
	case status.Failure != "":
		c.Reason = "the command was not started: " + status.Failure
	case status.Signal != 0:
		c.Reason = "killed by " + signalName(status.Signal)
	case status.Code == 0:
		c.Verdict = jobs.Succeeded
	default:
		c.Reason, c.Final = exitReason(status.Code), status.Code == exitFinal
	}
	var err error
	if c.Result, err = a.result(); err != nil {
		line := "tide: the result was left out: " + err.Error() + "\n"
		a.output.add([]byte(line))
		a.runner.echo.add(a.leased.Run, []byte(line))
	}
	c.Output = a.output.last()
	return c
}

func exitReason(code int) string {
	reason := fmt.Sprintf("exit status %d", code)
	switch code {
	case exitFinal:
		reason += ": not to be tried again"
	case 126:
		reason += ": the command cannot be executed"
	case 127:
		reason += ": the command was not found"
	}
	return reason
}

func signalName(number int) string {
	if name := unix.SignalName(syscall.Signal(number)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", number)
}

// result is the JSON that the command has left; nil if none.
func (a *attempt) result() (json.RawMessage, error) {
	text, err := readSmall(a.file(resultFile), springtide.ResultLimit)
	switch {
	case errors.Is(err, os.ErrNotExist) || err == nil && len(strings.TrimSpace(string(text))) == 0:
		return nil, nil
	case err != nil:
		return nil, err
	case !json.Valid(text):
		return nil, errors.New("it is not JSON")
	}
	return text, nil
}

// progress is how far the command says it has come. What is not, or not yet,
// JSON says nothing.
func (a *attempt) progress() (p springtide.Progress, ok bool) {
	text, err := readSmall(a.file(progressFile), 8<<10)
	return p, err == nil && json.Unmarshal(text, &p) == nil
}

// readSmall reads a file that a command may have put there: it must be a plain
// one, of at most so many bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a file")
	}
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(text)) > limit {
		return nil, fmt.Errorf("it has more than %d KiB", limit>>10)
	}
	return text, err
}
