// Package postgres runs a real PostgreSQL server for tests and benchmarks, from
// the distribution's packages: a private child, with a folder and a socket of
// its own, that never outlives the process that started it.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// startLimit is how long a server may take to come up or to end, on a machine whose
// disk has much else to do: after a kill it syncs all that it has.
const startLimit = 2 * time.Minute

// longestFolder keeps the path of the socket below what the kernel takes.
const longestFolder = 80

// Options say how the server runs.
type Options struct {
	// Faketime is a file from which the server takes its clock, whenever it looks
	// at it: "+5s" and "-1h" are relative to the real time, "@2030-01-01 00:00:00"
	// starts there. It must be there, everybody must be able to read it, and it is
	// best replaced by renaming another over it. The monotonic clock stays real.
	// Empty: the real time.
	Faketime string
	// NoFsync is for those who do not mind what a power cut would do.
	NoFsync bool
	// Settings are of postgresql.conf, such as shared_buffers; they win over ours.
	Settings map[string]string
}

// Mode says how a server is stopped.
type Mode syscall.Signal

// The modes.
const (
	// Fast ends all sessions and writes a checkpoint.
	Fast = Mode(syscall.SIGINT)
	// Immediate drops everything; the next start recovers from the log.
	Immediate = Mode(syscall.SIGQUIT)
)

// Cluster is a PostgreSQL server's data, and the server while it runs. Its
// methods are not to be called at the same time, but for URL.
type Cluster struct {
	options    Options
	folder     string
	binaries   string
	library    string              // libfaketime, if a clock is faked
	credential *syscall.Credential // nil: ours

	command *exec.Cmd
	ended   chan struct{}
}

// New makes a cluster in an empty folder of a short absolute path, through
// which other users may pass, and starts its server: as user postgres or nobody
// if we are root, else as ourselves. Whoever made it stops it.
func New(folder string, options Options) (*Cluster, error) {
	c := &Cluster{options: options, folder: folder}
	var err error
	if c.binaries, err = newest("/usr/lib/postgresql/*/bin/postgres"); err != nil {
		return nil, errors.New("the PostgreSQL server is not installed: package postgresql")
	}
	c.binaries = filepath.Dir(c.binaries)
	if options.Faketime != "" {
		if c.library, err = newest("/usr/lib/*/faketime/libfaketimeMT.so.1"); err != nil {
			return nil, errors.New("libfaketime is not installed: package faketime")
		}
	}
	if len(folder) > longestFolder || !filepath.IsAbs(folder) {
		return nil, fmt.Errorf("a socket in %s has too long a path, or not an absolute one", folder)
	}
	if c.credential, err = unprivileged(); err != nil {
		return nil, err
	}
	if c.credential != nil {
		if err := os.Chown(folder, int(c.credential.Uid), int(c.credential.Gid)); err != nil {
			return nil, err
		}
	}
	if err := c.initialize(); err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// initialize makes the data folder.
func (c *Cluster) initialize() error {
	command := exec.Command(filepath.Join(c.binaries, "initdb"), "--pgdata="+c.data(), "--username=postgres", "--auth=trust",
		"--encoding=UTF8", "--no-locale", "--no-sync")
	command.Dir, command.Env = c.folder, environment()
	command.SysProcAttr = &syscall.SysProcAttr{Credential: c.credential}
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, output)
	}
	return nil
}

// Start runs the server, again after it was stopped or killed, and returns
// when it takes connections.
func (c *Cluster) Start() error {
	log, err := os.OpenFile(c.Log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	c.command = exec.Command(filepath.Join(c.binaries, "postgres"), c.arguments()...)
	c.command.Dir, c.command.Env = c.folder, environment()
	if c.options.Faketime != "" {
		c.command.Env = append(c.command.Env, "LD_PRELOAD="+c.library, "FAKETIME_TIMESTAMP_FILE="+c.options.Faketime,
			"FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1")
	}
	c.command.Stdout, c.command.Stderr = log, log
	// SIGQUIT has it take its own children along.
	c.command.SysProcAttr = &syscall.SysProcAttr{Credential: c.credential, Setsid: true, Pdeathsig: syscall.SIGQUIT}
	c.ended = make(chan struct{})
	if err := startAndWait(c.command, c.ended); err != nil {
		return err
	}
	return c.await()
}

// startAndWait starts a child and keeps the thread that did until the child has
// ended: its death signal comes when that thread ends, not the process.
func startAndWait(command *exec.Cmd, ended chan<- struct{}) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // how it ended is in its log
			close(ended)
		}
	}()
	return <-started
}

func (c *Cluster) arguments() []string {
	settings := map[string]string{
		"listen_addresses": "", "unix_socket_directories": c.folder,
		"shared_buffers": "32MB", "max_connections": "200",
	}
	if c.options.NoFsync {
		settings["fsync"] = "off"
	}
	maps.Copy(settings, c.options.Settings)
	arguments := []string{"-D", c.data()}
	for name, value := range settings {
		arguments = append(arguments, "-c", name+"="+value)
	}
	return arguments
}

// await returns when the server takes connections.
func (c *Cluster) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for {
		connection, err := pgx.Connect(ctx, c.address("postgres"))
		if err == nil {
			return connection.Close(ctx)
		}
		select {
		case <-c.ended:
			return fmt.Errorf("the PostgreSQL server ended:\n%s", c.lastOfLog())
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the PostgreSQL server did not come up: %w\n%s", err, c.lastOfLog())
		}
	}
}

// URL gives the address of a database, which is created if it is missing. Its
// user may do everything.
func (c *Cluster) URL(ctx context.Context, database string) (string, error) {
	connection, err := pgx.Connect(ctx, c.address("postgres"))
	if err != nil {
		return "", err
	}
	defer connection.Close(ctx)
	var exists bool
	err = connection.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", database).Scan(&exists)
	if err == nil && !exists {
		_, err = connection.Exec(ctx, "create database "+pgx.Identifier{database}.Sanitize())
	}
	return c.address(database), err
}

func (c *Cluster) address(database string) string {
	return (&url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database, RawQuery: url.Values{"host": {c.folder}}.Encode()}).String()
}

// PID is that of the server's first process, the parent of all its others.
func (c *Cluster) PID() int { return c.command.Process.Pid }

// Restart stops the server and starts it again.
func (c *Cluster) Restart(mode Mode) error {
	return errors.Join(c.end(mode), c.Start())
}

// Stop stops the server, if it runs; the folder stays.
func (c *Cluster) Stop() error { return c.end(Immediate) }

func (c *Cluster) end(mode Mode) error {
	if c.command == nil || c.command.Process == nil {
		return nil
	}
	if err := c.command.Process.Signal(syscall.Signal(mode)); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.ended:
		return nil
	case <-time.After(startLimit):
		return errors.Join(fmt.Errorf("the PostgreSQL server did not end within %s of %s", startLimit, syscall.Signal(mode)), c.Kill())
	}
}

// Log is the file that the server writes to.
func (c *Cluster) Log() string { return filepath.Join(c.folder, "log") }

func (c *Cluster) data() string { return filepath.Join(c.folder, "data") }

func (c *Cluster) lastOfLog() string {
	data, _ := os.ReadFile(c.Log()) // without it there is still the error it is added to
	return string(data[max(0, len(data)-4096):])
}

// environment is the server's: what is set for clients does not reach it.
func environment() []string { return []string{"PATH=" + os.Getenv("PATH"), "TZ=UTC", "LC_ALL=C"} }

// unprivileged gives the user a server runs as, since it refuses to be root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	found, err := user.Lookup("postgres")
	if err != nil {
		found, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(found.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(found.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

// newest gives the file that matches and has the highest number in its path.
func newest(pattern string) (string, error) {
	matches, err := filepath.Glob(pattern)
	if err != nil || len(matches) == 0 {
		return "", errors.Join(err, os.ErrNotExist)
	}
	best, highest := matches[0], -1
	for _, match := range matches {
		for word := range strings.SplitSeq(match, "/") {
			if version, err := strconv.Atoi(word); err == nil && version > highest {
				best, highest = match, version
			}
		}
	}
	return best, nil
}
