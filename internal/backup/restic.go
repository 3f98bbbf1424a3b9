package backup

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
)

const (
	// resticGrace is how long restic may take to remove its lock when it is to end.
	resticGrace = 10 * time.Second
	// resticCache is how large restic's cache of one repository may become, in
	// bytes. What is removed of it is fetched again.
	resticCache = 256 << 20
	// resticHost stands in all snapshots in place of the machine's name, so that
	// those of another machine are the same repository's.
	resticHost = "springtide"
	// resticLine is the longest line of its output that is understood, in bytes.
	resticLine = 64 << 20
)

// repository is a repository of restic: the shared files of one environment.
// Calls wait for each other: a check needs it alone.
type repository struct {
	place resticPlace
	// password opens it.
	password []byte
	// cache is a folder on this machine.
	cache string
	turn  chan struct{} // has a value while nobody uses it
}

// resticPlace is how restic is told where a repository is.
type resticPlace struct {
	location string
	// options are given as -o NAME=VALUE; nothing secret is in them.
	options []string
	env     []string
	// credentials is a file as AWS's programs read it; empty: none is needed.
	credentials []byte
}

// resticCall is one call of restic.
type resticCall struct {
	arguments []string
	// folder is where it runs. Default: the cache's folder.
	folder string
	// line is given what it writes, line by line. May be nil.
	line func([]byte)
}

// do calls restic. If a restic that is dead has left its lock behind, that is
// removed and restic is called again: restic's own unlock does so if its process
// is gone from this machine, or if it has not been renewed for half an hour.
func (r *repository) do(ctx context.Context, call resticCall) error {
	select {
	case <-r.turn:
		defer func() { r.turn <- struct{}{} }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := boundFolder(r.cache, resticCache); err != nil {
		return err
	}
	err := r.call(ctx, call)
	if !errors.Is(err, errRepositoryLocked) {
		return err
	}
	if err := r.call(ctx, resticCall{arguments: []string{"unlock"}}); err != nil {
		return err
	}
	err = r.call(ctx, call)
	if !errors.Is(err, errRepositoryLocked) {
		return err
	}
	if dead, lockErr := r.ownersAreDead(ctx); lockErr != nil || !dead {
		return cmp.Or(lockErr, err)
	}
	if err := r.call(ctx, resticCall{arguments: []string{"unlock", "--remove-all"}}); err != nil {
		return err
	}
	return r.call(ctx, call)
}

// ownersAreDead says whether every lock is of this machine and of a process that
// is no restic that runs. To restic a killed process whose parent has not waited
// for it is alive, and so is a stranger that was given its number since.
func (r *repository) ownersAreDead(ctx context.Context) (bool, error) {
	machine, err := os.Hostname()
	if err != nil {
		return false, err
	}
	var names []string
	if err := r.call(ctx, resticCall{arguments: []string{"list", "locks", "--no-lock"}, line: func(line []byte) {
		names = append(names, string(bytes.TrimSpace(line)))
	}}); err != nil {
		return false, err
	}
	for _, name := range names {
		var text []byte
		if err := r.call(ctx, resticCall{arguments: []string{"cat", "lock", name, "--no-lock"}, line: func(line []byte) {
			text = append(text, line...)
		}}); err != nil {
			return false, err
		}
		var lock struct {
			Hostname string `json:"hostname"`
			PID      int    `json:"pid"`
		}
		if err := json.Unmarshal(text, &lock); err != nil {
			return false, springtide.Errorf(springtide.Failed, "restic's lock %s cannot be read: %w", name, err)
		}
		if lock.Hostname != machine || resticRuns(lock.PID) {
			return false, nil
		}
	}
	return true, nil
}

// resticRuns says whether the process is a restic. One that was killed and is
// not waited for yet has no arguments any more.
func resticRuns(pid int) bool {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	program, _, _ := bytes.Cut(line, []byte{0})
	return err == nil && filepath.Base(string(program)) == "restic"
}

// call runs restic once: nicely, dying with this process, and with nothing
// secret where others could see it: it reads that from inherited memory.
func (r *repository) call(ctx context.Context, call resticCall) error {
	program, err := exec.LookPath("restic")
	if err != nil {
		return springtide.Errorf(springtide.Unavailable, "restic is not installed; it keeps shared files safe").WithHint("apt-get install restic")
	}
	arguments := []string{"--json", "--repo", r.place.location, "--cache-dir", r.cache, "--cleanup-cache"}
	for _, option := range r.place.options {
		arguments = append(arguments, "-o", option)
	}
	command := exec.CommandContext(ctx, program, append(arguments, call.arguments...)...)
	command.Dir = call.folder
	if call.folder == "" {
		command.Dir = r.cache
	}
	command.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "HOME=" + r.cache, "TMPDIR=" + r.cache,
		"GOMAXPROCS=" + strconv.Itoa(max(1, runtime.NumCPU()/2)), "GOGC=50", "RESTIC_PROGRESS_FPS=1",
	}, r.place.env...)
	for variable, secret := range map[string][]byte{"RESTIC_PASSWORD_FILE": r.password, "AWS_SHARED_CREDENTIALS_FILE": r.place.credentials} {
		if len(secret) == 0 {
			continue
		}
		file, err := memoryFile(secret)
		if err != nil {
			return err
		}
		defer file.Close()
		command.ExtraFiles = append(command.ExtraFiles, file)
		command.Env = append(command.Env, variable+"=/proc/self/fd/"+strconv.Itoa(2+len(command.ExtraFiles)))
	}
	ended := make(chan error, 1)
	go nicely(func() { ended <- runRestic(ctx, command, call.line) })
	return <-ended
}

// runRestic runs the command to its end, on a thread that lasts as long, and says
// what went wrong.
func runRestic(ctx context.Context, command *exec.Cmd, line func([]byte)) error {
	var complaints tail
	command.Stderr = &complaints
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGINT) }
	command.WaitDelay = resticGrace
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return springtide.Errorf(springtide.Unavailable, "restic cannot be run: %w", err)
	}
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, resticLine)
	for lines.Scan() {
		if line != nil {
			line(lines.Bytes())
		}
	}
	_, _ = io.Copy(io.Discard, output)
	if err = cmp.Or(command.Wait(), lines.Err()); err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return resticProblem(command.ProcessState, complaints.String())
}

// What some callers of restic can do something about.
var (
	errRepositoryLocked  = errors.New("the repository is locked")
	errRepositoryMissing = errors.New("there is no repository")
	errRepositoryExists  = errors.New("the repository is there already")
	errIncomplete        = errors.New("some files could not be read")
)

// resticMeanings is what is in restic's complaints, and what it means.
func resticMeanings() []struct {
	kind                springtide.ErrorKind
	sign, message, hint string
	cause               error
} {
	return []struct {
		kind                springtide.ErrorKind
		sign, message, hint string
		cause               error
	}{
		{springtide.Conflict, "already locked", "another restic works on the repository", "wait until it is done; restic list locks says who it is", errRepositoryLocked},
		{springtide.Conflict, "config file already exists", "there is a repository already", "", errRepositoryExists},
		{springtide.NotFound, "Is there a repository at", "there is no repository of restic", "no backup was made yet, or the backup target has lost it", errRepositoryMissing},
		{springtide.Denied, "wrong password or no key found", "the repository of restic belongs to another platform", "is the recovery key the one of this platform?", nil},
		{springtide.Unavailable, "no space left on device", "the backup target is full", "free some space there; nothing that was kept is lost", nil},
		{springtide.Unavailable, "disk quota exceeded", "the backup target is full: its quota is used up", "free some space there; nothing that was kept is lost", nil},
		{springtide.Unavailable, "read-only file system", "the backup target is read-only", "mount it so that it can be written", nil},
		{springtide.Unavailable, "ermission denied", "the backup target does not let itself be used", "look at whom its folder belongs to", nil},
		{springtide.Unavailable, "Access Denied", "the backup target does not let itself be used", "look at what its keys may do", nil},
		{springtide.Unavailable, "connection refused", "the backup target does not answer", "nothing that was kept is lost; it is tried again", nil},
		{springtide.Unavailable, "no such host", "the backup target does not answer", "nothing that was kept is lost; it is tried again", nil},
		{springtide.Unavailable, "input/output error", "the backup target's disk fails", "look at its kernel's log", nil},
	}
}

// resticProblem says what restic complains about.
func resticProblem(state *os.ProcessState, complaints string) error {
	lines := strings.Split(strings.TrimSpace(complaints), "\n")
	if state.ExitCode() == 3 { // of backup: a snapshot was made of the rest
		e := springtide.Errorf(springtide.Failed, "%w", errIncomplete)
		e.Lines = lines
		return e
	}
	for _, m := range resticMeanings() {
		if !strings.Contains(complaints, m.sign) {
			continue
		}
		e := springtide.Errorf(m.kind, "%s", m.message).WithHint("%s", m.hint)
		e.Lines, e.Cause = lines, m.cause
		return e
	}
	e := springtide.Errorf(springtide.Failed, "restic failed (%v): %s", state, lines[len(lines)-1])
	e.Lines = lines
	return e
}

// resticJSON calls restic and reads the one value that it writes.
func resticJSON[T any](ctx context.Context, r *repository, arguments ...string) (value T, err error) {
	err = r.do(ctx, resticCall{arguments: arguments, line: func(line []byte) {
		if len(line) > 0 && (line[0] == '[' || line[0] == '{') {
			err = errors.Join(err, json.Unmarshal(line, &value))
		}
	}})
	return value, err
}

// tail keeps the last 8 KiB that are written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	const limit = 8 << 10
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*limit {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-limit:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.ToValidUTF8(t.kept, []byte("?"))) }

// memoryFile gives a file that is nowhere but in memory. Whoever inherits it
// reads it from the beginning as /proc/self/fd/N.
func memoryFile(content []byte) (*os.File, error) {
	descriptor, err := unix.MemfdCreate("secret", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(descriptor), "secret")
	if _, err := file.Write(content); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// boundFolder makes a folder, and empties it if it holds more than that many bytes.
func boundFolder(folder string, limit int64) error {
	size, err := folderSize(folder)
	if err == nil && size > limit {
		err = os.RemoveAll(folder)
	}
	if err == nil {
		err = os.MkdirAll(folder, 0o700)
	}
	if err != nil {
		return springtide.Errorf(springtide.Unavailable, "the cache of restic: %w", err)
	}
	return nil
}

// folderSize is how many bytes are in the files below a folder that may be missing.
func folderSize(folder string) (size int64, err error) {
	err = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				size += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it has just been removed, or was never there
		}
		return err
	})
	return size, err
}
