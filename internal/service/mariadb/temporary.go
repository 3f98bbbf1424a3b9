package mariadb

import (
	"context"
	"database/sql"
	"slices"
	"syscall"
	"time"

	"github.com/springtide/springtide/internal/service"
)

// temporarily runs a server on the data in a folder while work goes on, and stops
// it in good order. Only the platform reaches it, and it ends with this process.
func temporarily(ctx context.Context, server service.Server, folder string, work func(context.Context) error) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	command, tail := command(serving, server, job{Process: service.Process{
		Path: daemon(server.Version), Env: []string{"TZ=UTC"},
		Args: slices.Concat(settings(server, folder), building(), []string{"--skip-networking", "--skip-log-bin", "--skip-slave-start", "--max-allowed-packet=1G"}),
	}})
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 10 * time.Minute // to write down what it has in memory
	ended := make(chan error, 1)
	go func() {
		err := onThread(command.Run)
		if command.ProcessState != nil && command.ProcessState.Success() {
			err = nil // not that it was told to
		}
		ended <- err
		stop()
	}()
	err := awaitAnswer(serving, server)
	if err == nil {
		err = work(serving)
	}
	stop()
	if endErr := <-ended; endErr != nil { // it ended by itself: that is why the rest failed
		err = failure(ctx, command.Path, endErr, tail)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// awaitAnswer returns when a server answers at its socket.
func awaitAnswer(ctx context.Context, server service.Server) error {
	for {
		err := with(ctx, server, func(conn *sql.Conn) error { return conn.PingContext(ctx) })
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
