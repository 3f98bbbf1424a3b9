package mariadb

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// look gives the path of a program, be it missing: whoever runs it says so.
func look(name string) string {
	if path, err := exec.LookPath(name); err == nil && filepath.IsAbs(path) {
		return path
	}
	if name == "mariadbd" {
		return "/usr/sbin/mariadbd"
	}
	return "/usr/bin/" + name
}

// Versions gives the one that is installed.
func (Driver) Versions() []string {
	if version := installed(); version != "" {
		return []string{version}
	}
	return nil
}

func installed() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, look("mariadbd"), "--no-defaults", "--version").Output()
	if err != nil {
		return ""
	}
	return parseVersion(string(output))
}

var versionPattern = regexp.MustCompile(`\bVer (\d{1,4}\.\d{1,4})\.\d+-MariaDB`)

// parseVersion reads "mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for …"; empty if it
// is not that.
func parseVersion(text string) string {
	if found := versionPattern.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return ""
}

// daemon is the server's program. It is not another version's, which would change
// the data for good: then it has a name that nothing has, and that says what is
// missing.
func daemon(version string) string {
	if path := look("mariadbd"); installed() == version {
		return path
	}
	return "/usr/sbin/mariadbd-" + version
}

// Hint says how MariaDB is installed; Debian has one version at a time.
func (Driver) Hint(string) string {
	return "apt-get install mariadb-server-core mariadb-client mariadb-backup"
}

// check says whether a version is installed. The error is of kind Invalid.
func checkVersion(version string) error {
	if have := installed(); have != version {
		e := springtide.Errorf(springtide.Invalid, "MariaDB %s is not installed", version)
		if have != "" {
			e = springtide.Errorf(springtide.Invalid, "MariaDB %s is not installed, but %s is", version, have)
		}
		return e.WithHint("run: %s", Driver{}.Hint(version))
	}
	return nil
}

// client is one of MariaDB's own programs, as the platform's user. It is run in the
// server's folder.
func client(name, key string, args ...string) service.Process {
	return service.Process{
		Path: look(name), Args: append([]string{"--no-defaults", "--socket=run/" + socketName, "--user=" + platformUser}, args...),
		Env: []string{"MYSQL_PWD=" + key, "TZ=UTC"},
	}
}

// job is a program on its way.
type job struct {
	service.Process
	// Folder is where it is run. Default: the server's
	Folder string
	Input  io.Reader
	Output io.Writer
}

// run carries a program out as the server's user, and gives what it said beside
// its output. It does not outlive this process. The error of a program that did
// not succeed is of kind Failed.
func run(ctx context.Context, server service.Server, j job) (said string, err error) {
	command, tail := command(ctx, server, j)
	err = onThread(command.Run)
	if err != nil {
		err = failure(ctx, j.Path, err, tail)
	}
	return tail.String(), err
}

func command(ctx context.Context, server service.Server, j job) (*exec.Cmd, *tail) {
	command, tail := server.Command(ctx, j.Process), &tail{}
	if j.Folder != "" {
		command.Dir = j.Folder
	}
	command.Stdin, command.Stdout, command.Stderr, command.WaitDelay = j.Input, j.Output, tail, 5*time.Second
	if j.Output == nil {
		command.Stdout = tail
	}
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return command, tail
}

// failure says what became of a program.
func failure(ctx context.Context, path string, err error, tail *tail) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	failed := springtide.Errorf(springtide.Failed, "%s: %w", filepath.Base(path), err)
	if errors.Is(err, exec.ErrNotFound) {
		return failed.WithHint("run: %s", Driver{}.Hint(""))
	}
	failed.Lines = tail.lines()
	if len(failed.Lines) > 0 {
		failed.Message += ": " + failed.Lines[len(failed.Lines)-1]
	}
	return failed
}

// onThread keeps the thread that starts a program until it has ended: its death
// signal comes when that thread ends, not the process.
func onThread(work func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- work()
	}()
	return <-done
}

const (
	keptOutput = 32 << 10 // bytes
	shownLines = 10
)

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if len(t.text) > 2*keptOutput {
		t.text = bytes.Clone(t.text[len(t.text)-keptOutput:])
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.text) }

func (t *tail) lines() []string {
	text := strings.TrimSpace(strings.ToValidUTF8(t.String(), "\ufffd"))
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-shownLines):]
}
