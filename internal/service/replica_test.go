package service_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// writer writes one key after the other, and keeps what was acknowledged.
type writer struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu           sync.Mutex
	acknowledged []string
	failed       []error
}

func startWriter(ctx context.Context, url func() string) *writer {
	ctx, cancel := context.WithCancel(ctx)
	w := &writer{cancel: cancel}
	w.done.Go(func() {
		for number := 0; ctx.Err() == nil; number++ {
			key := fmt.Sprint("key-", number)
			err := write(ctx, url(), key, "x")
			if ctx.Err() != nil {
				return
			}
			w.mu.Lock()
			if err == nil {
				w.acknowledged = append(w.acknowledged, key)
			} else {
				w.failed = append(w.failed, err)
			}
			w.mu.Unlock()
			if err != nil {
				time.Sleep(time.Millisecond)
			}
		}
	})
	return w
}

func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acknowledged)
}

func (w *writer) stop() (acknowledged []string, failed []error) {
	w.cancel()
	w.done.Wait()
	return w.acknowledged, w.failed
}

// spoil has the data of the server of a role be of no use any more, and kills it.
func (w *world) spoil(role service.Role) (folder string) {
	w.t.Helper()
	server := w.server(role)
	if err := os.WriteFile(filepath.Join(server.Folder, "data", "broken"), nil, 0o644); err != nil {
		w.t.Fatal(err)
	}
	syscall.Kill(server.PID, syscall.SIGKILL)
	return server.Folder
}

func TestAPrimaryThatIsGoneForGoodIsReplacedByItsSynchronousReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	services := one(springtide.Service{Replica: true, Synchronous: true})
	w.provision(services)
	if !w.status("db").Protected {
		t.Fatal("it is not protected after it was provisioned")
	}
	url, before := w.url("db"), w.status("db")
	writer := startWriter(t.Context(), func() string { return url })
	w.eventually("some writes", func() bool { return writer.count() > 20 })

	began := time.Now()
	old := w.spoil(service.RolePrimary)
	at := writer.count()
	w.eventually("writes again", func() bool { return writer.count() > at+20 })
	t.Logf("writes again after %s, %s of which were patience", time.Since(began), w.options.Patience)
	w.eventually("a new replica follows", func() bool { return w.status("db").Protected })
	acknowledged, _ := writer.stop()

	if w.url("db") != url || w.status("db").Address != before.Address {
		t.Error("its address has changed")
	}
	for _, key := range acknowledged {
		w.expect("db", key, "x")
	}
	w.eventually("the old data is deleted", func() bool { _, err := os.Stat(old); return err != nil })
	if !w.happened("service.failover") || !w.happened("service.promoted") {
		t.Errorf("told of %+v", w.events)
	}
	// And again, with the replica that was made meanwhile.
	pid := w.server(service.RolePrimary).PID
	w.spoil(service.RolePrimary)
	w.eventually("it is protected again", func() bool {
		server := w.server(service.RolePrimary)
		return server.State == service.StateReady && server.PID != pid && w.status("db").Protected
	})
	w.expect("db", acknowledged[0], "x")
}

func TestAnOldPrimaryIsNeverStartedAsOneAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.provision(one(springtide.Service{Replica: true, Synchronous: true}))
	old := w.spoil(service.RolePrimary)
	w.eventually("the failover has begun", func() bool { return w.happened("service.failover") })
	// It would be well again, but its time is over. The manager dies in between.
	w.end()
	os.Remove(filepath.Join(old, "data", "broken"))
	w.run()
	w.eventually("the replica is the primary", func() bool {
		server := w.server(service.RolePrimary)
		return server.State == service.StateReady && server.Folder != old
	})
	w.eventually("its data is replaced", func() bool { _, err := os.Stat(old); return err != nil })
}

func TestAPrimaryThatHangsIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *service.Options) { o.Patience = 300 * time.Millisecond })
	w.provision(one(springtide.Service{Replica: true, Synchronous: true}))
	pid := w.server(service.RolePrimary).PID
	syscall.Kill(pid, syscall.SIGSTOP)
	w.eventually("another serves", func() bool {
		server := w.server(service.RolePrimary)
		return server.State == service.StateReady && server.PID != pid
	})
	if syscall.Kill(pid, 0) == nil {
		t.Error("the old primary is still there")
	}
	w.eventually("it takes writes", func() bool { return write(t.Context(), w.url("db"), "colour", "green") == nil })
}

func TestAReplicaThatIsNotSynchronousIsPromotedByCommandOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	services := one(springtide.Service{Replica: true})
	w.provision(services)
	variables, err := w.Variables(quiz, services)
	if err != nil {
		t.Fatal(err)
	}
	w.write("colour", "green")
	w.eventually("the replica has it", func() bool {
		got, err := read(t.Context(), variables["DB_REPLICA_URL"], "colour")
		return err == nil && got == "green"
	})
	w.spoil(service.RolePrimary)
	w.eventually("it is down", func() bool { return w.status("db").State == service.StateDown })
	time.Sleep(2 * w.options.Patience) // Nothing may happen in this time.
	if w.happened("service.failover") {
		t.Fatal("it was promoted by itself")
	}
	if err := w.Promote(t.Context(), serviceID("db")); err != nil {
		t.Fatal(err)
	}
	w.expect("db", "colour", "green")
	w.write("colour", "red")
	w.waitReady()
}

func TestAPromotionOfAReplicaThatFollowsLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.provision(one(springtide.Service{Replica: true, Synchronous: true}))
	writer := startWriter(t.Context(), func() string { return w.url("db") })
	w.eventually("some writes", func() bool { return writer.count() > 20 })
	if err := w.Promote(t.Context(), serviceID("db")); err != nil {
		t.Fatal(err)
	}
	at := writer.count()
	w.eventually("more writes", func() bool { return writer.count() > at+20 })
	acknowledged, failed := writer.stop()
	t.Logf("%d writes, %d failed", len(acknowledged), len(failed))
	for _, key := range acknowledged {
		w.expect("db", key, "x")
	}
}

func TestAPrimaryGoesOnWithoutAReplicaThatIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	services := one(springtide.Service{Replica: true, Synchronous: true})
	w.provision(services)
	folder := w.spoil(service.RoleReplica)
	w.eventually("nobody waits for it", func() bool { return !w.status("db").Protected })
	w.write("colour", "green")
	if status := w.status("db"); status.State != service.StateDegraded {
		t.Errorf("its status is %+v", status)
	}
	w.eventually("it is told of", func() bool { return w.happened("service.degraded") })
	// It has missed something: it must not be promoted.
	w.spoil(service.RolePrimary)
	time.Sleep(2 * w.options.Patience) // Nothing may happen in this time.
	if w.happened("service.failover") {
		t.Fatal("it was promoted by itself")
	}
	os.Remove(filepath.Join(w.server(service.RolePrimary).Folder, "data", "broken"))
	os.Remove(filepath.Join(folder, "data", "broken"))
	w.eventually("it is protected again", func() bool { return w.status("db").Protected })
	w.expect("db", "colour", "green")

	w.provision(one(springtide.Service{}))
	if len(w.status("db").Servers) != 1 {
		t.Error("the replica is still there")
	}
	w.write("colour", "red")
	w.eventually("its data is deleted", func() bool { _, err := os.Stat(folder); return err != nil })
}

func TestThePrimaryIsStartedBeforeItsReplica(t *testing.T) {
	t.Parallel()
	// A primary that has been away for that long is not waited for.
	w := newWorld(t, func(o *service.Options) { o.Patience = time.Minute })
	w.provision(one(springtide.Service{Replica: true}))
	if err := w.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.end()
	w.mu.Lock()
	w.events = nil
	w.mu.Unlock()
	w.run()
	var roles []string
	w.eventually("both are told of", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		roles = nil
		for _, event := range w.events {
			if event.Kind == "service.started" {
				roles = append(roles, event.Fields["role"])
			}
		}
		return len(roles) > 1
	})
	if fmt.Sprint(roles) != "[primary replica]" {
		t.Errorf("started %v", roles)
	}
}

func TestAReplicaThatCanNeverCatchUpIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.provision(one(springtide.Service{Replica: true, Synchronous: true}))
	folder := w.server(service.RoleReplica).Folder
	if err := os.WriteFile(filepath.Join(folder, "data", "lost"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	w.eventually("another follows", func() bool { return w.status("db").Protected && w.server(service.RoleReplica).Folder != folder })
	w.eventually("its data is deleted", func() bool { _, err := os.Stat(folder); return err != nil })
	w.write("colour", "green")
}
