package service_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/servicetest"
)

func TestTheFakeConforms(t *testing.T) {
	t.Parallel()
	servicetest.Run(t, servicetest.Kit{
		Driver: fakeDriver{program: fakeProgram, step: func() {}}, Spec: springtide.Service{Kind: fakeKind},
		Synchronous: true, Write: write, Read: read,
	})
}

func TestAProvisionedServiceServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	services := one(springtide.Service{})
	w.provision(services)
	variables, err := w.Variables(quiz, services)
	if err != nil || variables["DB_URL"] != w.url("db") {
		t.Errorf("variables %v: %v", variables, err)
	}
	w.write("colour", "green")
	pid := w.server(service.RolePrimary).PID
	w.provision(services)
	w.expect("db", "colour", "green")
	if again := w.server(service.RolePrimary).PID; again != pid {
		t.Error("it was started again by a provisioning that changed nothing")
	}
	if status := w.status("db"); status.State != service.StateReady || status.Version != "2" {
		t.Errorf("its status is %+v", status)
	}
	record, err := os.ReadFile(filepath.Join(w.folder, "quiz/production/db/service.json"))
	if err != nil {
		t.Fatal(err)
	}
	server, _, _ := w.Server(serviceID("db"))
	if bytes.Contains(record, []byte(server.Logins.Current.Password)) {
		t.Error("the password is in the record")
	}
}

func TestAServerThatDiesIsStartedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.provision(one(springtide.Service{}))
	w.write("colour", "green")
	pid := w.server(service.RolePrimary).PID
	syscall.Kill(pid, syscall.SIGKILL)
	w.eventually("another process serves", func() bool {
		server := w.server(service.RolePrimary)
		return server.State == service.StateReady && server.PID != pid
	})
	w.expect("db", "colour", "green")
	if !w.happened("service.died") || !w.happened("service.started") {
		t.Errorf("told of %+v", w.events)
	}
}

func TestServersOutliveTheManagerAndAreAdopted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.provision(one(springtide.Service{}))
	w.write("colour", "green")
	pid, url := w.server(service.RolePrimary).PID, w.url("db")
	w.end()
	if got, err := read(t.Context(), url, "colour"); err != nil || got != "green" {
		t.Fatalf("without a manager it says %q: %v", got, err)
	}
	w.run()
	w.waitReady()
	if again := w.server(service.RolePrimary).PID; again != pid {
		t.Errorf("process %d was not adopted: now it is %d", pid, again)
	}
	syscall.Kill(pid, syscall.SIGKILL)
	w.eventually("an adopted server that died is started again", func() bool {
		server := w.server(service.RolePrimary)
		return server.State == service.StateReady && server.PID != pid
	})
	w.expect("db", "colour", "green")
}

func TestOneManagerRunsAFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if _, err := service.New(w.options); springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("a second manager: %v", err)
	}
}

func TestAServerWhosePortAStrangerHasGetsAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.provision(one(springtide.Service{}))
	w.write("colour", "green")
	address := w.status("db").Address
	if err := w.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.end()
	stranger, err := net.Listen("tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	w.run()
	w.waitReady()
	if w.status("db").Address == address || !w.happened("service.moved") {
		t.Errorf("it is at %s", w.status("db").Address)
	}
	w.expect("db", "colour", "green")
}

func TestAServiceThatNoManifestNamesIsStoppedAndKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.provision(one(springtide.Service{}))
	w.write("colour", "green")
	if err := w.Keep(t.Context(), quiz, nil); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is stopped", func() bool { return w.server(service.RolePrimary).PID == 0 })
	if status := w.status("db"); !status.Orphan || status.State != service.StateStopped || !w.happened("service.orphaned") {
		t.Errorf("its status is %+v", status)
	}
	w.end()
	w.run()
	w.provision(one(springtide.Service{}))
	w.expect("db", "colour", "green")
	if err := w.Destroy(t.Context(), serviceID("db")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(w.folder, "quiz/production/db")); err == nil {
		t.Error("its folder is still there")
	}
	if _, _, err := w.Server(serviceID("db")); springtide.KindOf(err) != springtide.NotFound {
		t.Errorf("after it was destroyed: %v", err)
	}
	w.provision(one(springtide.Service{}))
	w.expect("db", "colour", "")
}

func TestWhatCannotBeRunIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.provision(one(springtide.Service{Version: "1"}))
	for name, test := range map[string]struct {
		spec springtide.Service
		kind springtide.ErrorKind
	}{
		"new":    {springtide.Service{Kind: "granite"}, springtide.Invalid},
		"newer":  {springtide.Service{Kind: fakeKind, Version: "9"}, springtide.Failed},
		"db":     {springtide.Service{Kind: springtide.ServiceRedis, External: "redis://127.0.0.1:1"}, springtide.Conflict},
		"theirs": {springtide.Service{Kind: fakeKind, External: "postgres://127.0.0.1:1/x"}, springtide.Unavailable},
	} {
		err := w.Provision(t.Context(), quiz, map[springtide.ServiceName]springtide.Service{springtide.ServiceName(name): test.spec}, func(string) {})
		if springtide.KindOf(err) != test.kind {
			t.Errorf("%s: %v, not of kind %s", name, err, test.kind)
		}
	}
	var said string
	err := w.Provision(t.Context(), quiz, one(springtide.Service{Version: "2"}), func(line string) { said += line })
	if err != nil || w.status("db").Version != "1" || !bytes.Contains([]byte(said), []byte("tide db upgrade")) {
		t.Errorf("a newer version in the manifest: %v, %q", err, said)
	}
}

func TestProvisionsOfAnEnvironmentTakeTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	errs := make(chan error)
	for range 4 {
		go func() { errs <- w.Provision(t.Context(), quiz, one(springtide.Service{}), func(string) {}) }()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	w.write("colour", "green")
}

func TestAnExternalServiceIsLookedAt(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	w := newWorld(t, func(o *service.Options) {
		o.Secret = func(_ springtide.EnvironmentID, name springtide.SecretName) (string, error) {
			return fmt.Sprintf("postgres://me:%s@%s/x", name, listener.Addr()), nil
		}
	})
	services := one(springtide.Service{External: "secret:THEIRS"})
	w.provision(services)
	variables, err := w.Variables(quiz, services)
	if want := "postgres://me:THEIRS@" + listener.Addr().String() + "/x"; err != nil || variables["DB_URL"] != want {
		t.Errorf("variables %v: %v", variables, err)
	}
	w.waitReady()
	listener.Close()
	w.eventually("it is down", func() bool { return w.status("db").State == service.StateDown })
	w.eventually("it is told of", func() bool { return w.happened("service.unreachable") })
}
