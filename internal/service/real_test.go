package service_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/postgres"
)

// insert keeps a number, over a connection of its own.
func insert(ctx context.Context, url string, number int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	connection, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	_, err = connection.Exec(ctx, "insert into numbers values ($1)", number)
	return err
}

func query[T any](t *testing.T, url, statement string, args ...any) (answer T) {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(context.WithoutCancel(t.Context()))
	if err := connection.QueryRow(t.Context(), statement, args...).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestPostgresIsRotatedRestartedAndReplacedUnderLoad has a real server and its
// synchronous replica go through the worst.
func TestPostgresIsRotatedRestartedAndReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *service.Options) {
		o.Drivers = map[springtide.ServiceKind]service.Driver{springtide.ServicePostgres: postgres.New(postgres.Options{})}
		o.Interval, o.Patience, o.Alone = 0, 3*time.Second, 0
	})
	services := map[springtide.ServiceName]springtide.Service{"db": {Kind: springtide.ServicePostgres, Replica: true, Synchronous: true}}
	w.provision(services)
	if err := execute(t.Context(), w.url("db"), "create table numbers (n int)"); err != nil {
		t.Fatal(err)
	}
	load := startNumbers(t, w)
	w.eventually("some writes", func() bool { return load.count() > 50 })

	if err := w.Rotate(t.Context(), serviceID("db")); err != nil {
		t.Fatal(err)
	}
	at := load.count()
	w.eventually("writes with the new login", func() bool { return load.count() > at+50 })
	if err := w.Retire(t.Context(), serviceID("db")); err != nil {
		t.Fatal(err)
	}
	at = load.count()
	w.eventually("writes without the old one", func() bool { return load.count() > at+50 })
	load.mu.Lock()
	for _, err := range load.failed {
		t.Errorf("a query failed while passwords were rotated: %v", err)
	}
	load.mu.Unlock()

	for name, kill := range map[string]func(){
		"killed":          func() { syscall.Kill(w.server(service.RolePrimary).PID, syscall.SIGKILL) },
		"killed for good": func() { w.ruin() },
	} {
		w.eventually("it is protected", func() bool { return w.status("db").Protected && w.status("db").State == service.StateReady })
		pid, began := w.server(service.RolePrimary).PID, time.Now()
		kill()
		w.eventually("another process", func() bool { return w.server(service.RolePrimary).PID != pid })
		at := load.count()
		w.eventually("writes again", func() bool { return load.count() > at+10 })
		t.Logf("%s: writes again after %s", name, time.Since(began).Round(time.Millisecond))
	}
	w.eventually("it is protected", func() bool { return w.status("db").Protected })
	acknowledged := load.stop()
	if there := query[int](t, w.url("db"), "select count(distinct n) from numbers where n = any ($1)", acknowledged); there != len(acknowledged) {
		t.Errorf("%d of %d acknowledged writes are there", there, len(acknowledged))
	}
	t.Logf("%d writes acknowledged, none lost", len(acknowledged))
}

// ruin has the primary's data be of no use any more, and kills it.
func (w *world) ruin() {
	server := w.server(service.RolePrimary)
	if err := os.Remove(filepath.Join(server.Folder, "data", "global", "pg_control")); err != nil {
		w.t.Fatal(err)
	}
	syscall.Kill(server.PID, syscall.SIGKILL)
}

func execute(ctx context.Context, url, statement string) error {
	connection, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	_, err = connection.Exec(ctx, statement)
	return err
}

// numbers is a writer of numbers.
type numbers struct {
	writer
	kept []int
}

func startNumbers(t *testing.T, w *world) *numbers {
	ctx, cancel := context.WithCancel(t.Context())
	n := &numbers{writer: writer{cancel: cancel}}
	n.done.Go(func() {
		for number := 0; ctx.Err() == nil; number++ {
			err := insert(ctx, w.url("db"), number)
			n.mu.Lock()
			if err == nil {
				n.kept = append(n.kept, number)
			} else if ctx.Err() == nil {
				n.failed = append(n.failed, fmt.Errorf("number %d: %w", number, err))
			}
			n.mu.Unlock()
		}
	})
	return n
}

func (n *numbers) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.kept)
}

func (n *numbers) stop() []int {
	n.cancel()
	n.done.Wait()
	return n.kept
}
