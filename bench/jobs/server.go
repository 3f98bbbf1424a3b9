package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide/test/postgres"
)

// server is what a subject needs besides its own process.
type server struct {
	address string
	pid     int // 0: there is none
	stop    func() error
}

// startServer starts what the subject needs, with a new and empty store in a
// folder of its own. Profiled says that PostgreSQL keeps the times of statements.
func startServer(ctx context.Context, s subject, folder string, profiled bool) (server, error) {
	switch s.Server {
	case "postgres":
		settings := map[string]string{"shared_buffers": "128MB"}
		if profiled {
			settings["shared_preload_libraries"] = "pg_stat_statements"
		}
		cluster, err := postgres.New(folder, postgres.Options{Settings: settings})
		if err != nil {
			return server{}, err
		}
		address, err := cluster.URL(ctx, "bench")
		if err != nil {
			return server{}, errors.Join(err, cluster.Stop())
		}
		return server{address, cluster.PID(), cluster.Stop}, nil
	case "redis":
		return startRedis(ctx, folder, s.Settings)
	}
	return server{address: filepath.Join(folder, "jobs.db"), stop: func() error { return nil }}, nil
}

// startRedis runs a real Redis that keeps every command in its log, on a socket.
// The program is in Debian's redis-tools under another name, and is what its own
// name says it is.
func startRedis(ctx context.Context, folder string, settings []string) (server, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		program, err = exec.LookPath("redis-check-rdb")
	}
	if err != nil {
		return server{}, errors.New("the Redis server is not installed: package redis-tools or redis-server")
	}
	socket := filepath.Join(folder, "redis.sock")
	arguments := []string{"--port", "0", "--unixsocket", socket, "--dir", folder, "--save", "", "--appendonly", "yes"}
	command := exec.Command(program, append(arguments, settings...)...)
	command.Args[0] = "redis-server"
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return server{}, err
	}
	stop := func() error {
		err := command.Process.Kill()
		_ = command.Wait() // it was killed
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		connection, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			return server{socket, command.Process.Pid, stop}, connection.Close()
		}
		if pause(ctx, 10*time.Millisecond) != nil {
			return server{}, errors.Join(fmt.Errorf("redis-server did not come up: %w", err), stop())
		}
	}
}

// statements tells on what PostgreSQL spent its time.
func statements(ctx context.Context, address, path string) error {
	connection, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	if _, err := connection.Exec(ctx, "create extension pg_stat_statements"); err != nil {
		return err
	}
	rows, err := connection.Query(ctx, `select format('%s ms in %s calls, %s rows: %s', round(total_exec_time), calls, rows, query)
		from pg_stat_statements order by total_exec_time desc limit 20`)
	if err != nil {
		return err
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return errors.Join(err, os.WriteFile(path, []byte(strings.Join(lines, "\n\n")+"\n"), 0o644))
}

// newFolder makes a folder for a server that is another user.
func newFolder(in string) (string, error) {
	folder, err := os.MkdirTemp(in, "bench-jobs-")
	if err != nil {
		return "", err
	}
	return folder, os.Chmod(folder, 0o755)
}
