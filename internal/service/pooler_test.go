package service_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/postgres"
)

// startSteady has clients write numbers, each over one connection that it keeps
// for as long as it can.
func startSteady(t *testing.T, w *world, services map[springtide.ServiceName]springtide.Service, clients int) *numbers {
	ctx, cancel := context.WithCancel(t.Context())
	n := &numbers{writer: writer{cancel: cancel}}
	for client := range clients {
		n.done.Go(func() {
			var connection *pgx.Conn
			defer func() {
				if connection != nil {
					connection.Close(context.WithoutCancel(t.Context()))
				}
			}()
			for number := client; ctx.Err() == nil; number += clients {
				err := func() (err error) {
					variables, err := w.now().Variables(quiz, services)
					if err != nil {
						return err
					}
					if url := variables["DATABASE_URL"]; connection == nil || connection.IsClosed() || !strings.Contains(url, connection.Config().User) {
						config, err := pgx.ParseConfig(url)
						if err != nil {
							return err
						}
						config.DefaultQueryExecMode = pgx.QueryExecModeExec // a statement has one connection, and the next another
						if connection != nil {
							connection.Close(t.Context())
						}
						if connection, err = pgx.ConnectConfig(t.Context(), config); err != nil {
							return err
						}
					}
					_, err = connection.Exec(t.Context(), "insert into numbers values ($1)", number)
					return err
				}()
				n.mu.Lock()
				if err == nil {
					n.kept = append(n.kept, number)
				} else {
					n.failed = append(n.failed, fmt.Errorf("number %d: %w", number, err))
				}
				n.mu.Unlock()
			}
		})
	}
	return n
}

// rounds is how many writes each of the clients has had since there were so many: the
// first of each may have begun before.
func (n *numbers) rounds(clients, since int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	each := make([]int, clients)
	for _, number := range n.kept[since:] {
		each[number%clients]++
	}
	return slices.Min(each)
}

// TestAPoolerHoldsQueriesWhileTheServerIsChanged has clients that outnumber the
// pooler's connections by far, none of which notices what is done to the server.
func TestAPoolerHoldsQueriesWhileTheServerIsChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *service.Options) {
		o.Drivers = map[springtide.ServiceKind]service.Driver{springtide.ServicePostgres: postgres.New(postgres.Options{})}
		o.Interval, o.Patience, o.Alone = 0, 3*time.Second, 0
	})
	services := map[springtide.ServiceName]springtide.Service{"db": {
		Kind: springtide.ServicePostgres, Replica: true, Connections: 10, Memory: 64 << 20,
		Pool: springtide.Pool{Mode: springtide.PoolTransaction, Size: 3},
	}}
	w.provision(services)
	variables, err := w.Variables(quiz, services)
	if err != nil || variables["DATABASE_DIRECT_URL"] != w.url("db") || variables["DATABASE_URL"] == w.url("db") {
		t.Fatalf("the app is told %v: %v", variables, err)
	}
	if err := execute(t.Context(), variables["DATABASE_DIRECT_URL"], "create table numbers (n int)"); err != nil {
		t.Fatal(err)
	}
	if err := execute(t.Context(), strings.Replace(variables["DATABASE_URL"], "quiz_1:", "quiz_1:x", 1), "select 1"); err == nil {
		t.Error("a wrong password was let in")
	}
	if err := execute(t.Context(), variables["DATABASE_URL"]+"?sslmode=require", "select 1"); err != nil {
		t.Errorf("with TLS: %v", err)
	}
	const clients = 20
	load := startSteady(t, w, services, clients)
	w.eventually("some writes", func() bool { return load.count() > 200 })
	for _, done := range []struct {
		what string
		do   func(context.Context, springtide.ServiceID) error
	}{
		{"a rotation", w.Rotate},
		{"the end of a rotation", w.Retire},
		{"a promotion", w.Promote},
		{"a restart", w.Restart},
	} {
		w.eventually("it is well before "+done.what, func() bool { return w.status("db").State == service.StateReady })
		began := time.Now()
		if err := done.do(t.Context(), serviceID("db")); err != nil {
			t.Fatalf("%s: %v", done.what, err)
		}
		took := time.Since(began).Round(time.Millisecond)
		at := load.count()
		w.eventually("writes of all clients after "+done.what, func() bool { return load.rounds(clients, at) > 1 })
		t.Logf("%s took %s", done.what, took)
		load.mu.Lock()
		for _, err := range load.failed {
			t.Errorf("%s: a query failed: %v", done.what, err)
		}
		load.failed = nil
		load.mu.Unlock()
	}
	if most := query[int](t, w.url("db"), "select count(*) from pg_stat_activity where usename = 'quiz_2' and pid <> pg_backend_pid()"); most > 3 {
		t.Errorf("the pooler has %d connections to the server", most)
	}
	w.poolerComesBack(load)
	acknowledged := load.stop()
	if there := query[int](t, w.url("db"), "select count(distinct n) from numbers where n = any ($1)", acknowledged); there != len(acknowledged) {
		t.Errorf("%d of %d acknowledged writes are there", there, len(acknowledged))
	}
	w.poolerGoes(services)
}

// poolerComesBack kills the pooler, and the manager while the pooler holds queries.
func (w *world) poolerComesBack(load *numbers) {
	w.t.Helper()
	pid := w.server(service.RolePooler).PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("another pooler", func() bool {
		one := w.server(service.RolePooler)
		return one.PID != pid && one.State == service.StateReady
	})
	pid = w.server(service.RolePooler).PID
	server, driver, err := w.Server(serviceID("db"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.end()
	server.Folder = w.folder + "/quiz/production/db/pooler"
	for port := range uint16(50) { // whichever is the pooler's
		server.Address = netip.AddrPortFrom(w.options.Host, w.options.FirstPort+port)
		if err = driver.(service.Pooled).Pooler().Pause(w.t.Context(), server); err == nil {
			break
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.run()
	at := load.count()
	w.eventually("writes again", func() bool { return load.count() > at+100 })
	if now := w.server(service.RolePooler).PID; now != pid {
		w.t.Errorf("the pooler was %d and is %d: it was not adopted", pid, now)
	}
}

// poolerGoes takes the pooler away: it leads to the server until nobody uses it.
func (w *world) poolerGoes(services map[springtide.ServiceName]springtide.Service) {
	w.t.Helper()
	before, err := w.Variables(quiz, services)
	if err != nil {
		w.t.Fatal(err)
	}
	spec := services["db"]
	spec.Pool = springtide.Pool{}
	without := map[springtide.ServiceName]springtide.Service{"db": spec}
	w.provision(without)
	if err := execute(w.t.Context(), before["DATABASE_URL"], "select 1"); err != nil {
		w.t.Errorf("through the pooler, while it may be used: %v", err)
	}
	if err := w.Keep(w.t.Context(), quiz, without); err != nil {
		w.t.Fatal(err)
	}
	if err := execute(w.t.Context(), before["DATABASE_URL"], "select 1"); err == nil {
		w.t.Error("the pooler is there although nobody needs it")
	}
	after, err := w.Variables(quiz, without)
	if err != nil || after["DATABASE_URL"] != w.url("db") || after["DATABASE_DIRECT_URL"] != "" {
		w.t.Errorf("the app is told %v: %v", after, err)
	}
}

func TestAPoolerThatIsNotInstalledIsAClearError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *service.Options) {
		o.Drivers = map[springtide.ServiceKind]service.Driver{springtide.ServicePostgres: postgres.New(postgres.Options{Pooler: "/nowhere/pgbouncer"})}
	})
	err := w.Provision(t.Context(), quiz, map[springtide.ServiceName]springtide.Service{"db": {
		Kind: springtide.ServicePostgres, Pool: springtide.Pool{Mode: springtide.PoolTransaction, Size: 3},
	}}, func(string) {})
	if springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), "apt-get install --no-install-recommends pgbouncer") {
		t.Errorf("%s: %v", springtide.KindOf(err), err)
	}
}
