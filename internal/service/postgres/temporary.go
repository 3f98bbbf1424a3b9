package postgres

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

const (
	// pollEvery is how often a condition of a server is looked at.
	pollEvery = 50 * time.Millisecond
	// stopLimit is how long a server may take to write down what it has in memory.
	stopLimit = 10 * time.Minute
	// endLimit is how long a server that was left behind may take to end.
	endLimit = 20 * time.Second
)

// temporarily runs a server on the data in a folder while work goes on, and stops
// it in good order. Only the platform reaches it, and it ends with this process. Its data
// is not synced, which would take most of the time: a step that dies begins anew,
// and one that succeeds calls sync. What the server said comes back too.
func (d *Driver) temporarily(ctx context.Context, s service.Server, folder string, special map[string]string, work func() error) (said string, err error) {
	all := d.settings(s)
	maps.Copy(all, map[string]string{"listen_addresses": "", "archive_mode": "off", "fsync": "off", "synchronous_commit": "off"})
	maps.Copy(all, special)
	serving, stop := context.WithCancel(ctx)
	defer stop()
	command, output := command(serving, s, program{
		Process: service.Process{Path: d.program(s.Version, "postgres"), Args: arguments(folder, all), Env: []string{"TZ=UTC"}, Stop: syscall.SIGINT},
		Dying:   syscall.SIGQUIT,
	})
	command.WaitDelay = stopLimit
	ended := make(chan error, 1)
	go func() {
		err := runOnThread(command)
		if command.ProcessState != nil && command.ProcessState.Success() {
			err = nil // Not that it was told to.
		}
		ended <- err
		stop()
	}()
	err = await(serving, func() error {
		return within(serving, s, platformDatabase, func(*pgx.Conn) error { return nil })
	})
	if err == nil {
		err = work()
	}
	stop()
	if endErr := <-ended; endErr != nil {
		err = failure("postgres", endErr, output) // It ended by itself: that is why the rest failed.
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return output.String(), err
}

// await tries until it succeeds, or the context ends.
func await(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pollEvery):
		}
	}
}

// sync makes all of a folder with data durable.
func (d *Driver) sync(ctx context.Context, s service.Server, folder string) error {
	_, err := run(ctx, s, program{Process: service.Process{Path: d.program(s.Version, "initdb"), Args: []string{"--sync-only", "--pgdata=" + folder}}})
	return err
}

// endLeft ends the server that a file names, if it still runs there.
func endLeft(pidFile string) error {
	content, err := os.ReadFile(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid := parsePID(string(content))
	runs := func() bool {
		folder, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
		return err == nil && folder == filepath.Dir(pidFile)
	}
	for deadline := time.Now().Add(endLimit); pid > 0 && runs(); time.Sleep(pollEvery) {
		if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		if time.Now().After(deadline) {
			return springtide.Errorf(springtide.Unavailable, "a server that an earlier attempt left does not end: process %d", pid)
		}
	}
	return nil
}

// parsePID gives the process that a server's file names first; 0 if none.
func parsePID(content string) int {
	first, _, _ := strings.Cut(content, "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid < 2 {
		return 0
	}
	return pid
}
