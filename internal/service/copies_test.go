package service_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

func TestPasswordsAreRotatedWithoutAFailedQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.provision(one(springtide.Service{}))
	old := w.url("db")
	writer := startWriter(t.Context(), func() string { return w.url("db") })
	for range 3 {
		before := w.url("db")
		for range 2 {
			if err := w.Rotate(t.Context(), serviceID("db")); err != nil {
				t.Fatal(err)
			}
		}
		if w.url("db") == before || !w.status("db").Rotating {
			t.Fatal("it was not rotated")
		}
		if err := write(t.Context(), before, "early", "x"); err != nil {
			t.Errorf("the earlier login is refused before it is retired: %v", err)
		}
		at := writer.count()
		w.eventually("writes with the new one", func() bool { return writer.count() > at+20 })
		for range 2 {
			if err := w.Retire(t.Context(), serviceID("db")); err != nil {
				t.Fatal(err)
			}
		}
	}
	acknowledged, failed := writer.stop()
	for _, err := range failed {
		t.Error(err)
	}
	t.Logf("%d writes, %d failed", len(acknowledged), len(failed))
	if err := write(t.Context(), old, "late", "x"); err == nil {
		t.Error("the first login still works")
	}
}

func TestAForkIsScrubbedBeforeAnybodySeesIt(t *testing.T) {
	t.Parallel()
	var scrubbed func(map[string]string) error
	w := newWorld(t, func(o *service.Options) {
		o.Scrub = func(_ context.Context, _ springtide.EnvironmentID, command string, variables map[string]string) error {
			if command != "scrub" {
				t.Errorf("asked to run %q", command)
			}
			return scrubbed(variables)
		}
	})
	w.provision(one(springtide.Service{}))
	w.write("mail", "me@example.com")
	staging := springtide.EnvironmentID{App: "quiz", Name: "staging"}
	to := springtide.ServiceID{Environment: staging, Name: "db"}

	scrubbed = func(map[string]string) error { return errors.New("no") }
	if err := w.Fork(t.Context(), serviceID("db"), to, "scrub"); err == nil {
		t.Error("there is a copy that was not scrubbed")
	}
	if list := w.List(staging); len(list) > 0 {
		t.Errorf("there is %+v", list)
	}
	scrubbed = func(variables map[string]string) error {
		if _, err := w.Variables(staging, one(springtide.Service{})); err == nil {
			t.Error("it can be used before it is scrubbed")
		}
		return write(t.Context(), variables["DATABASE_URL"], "mail", "nobody")
	}
	if err := w.Fork(t.Context(), serviceID("db"), to, "scrub"); err != nil {
		t.Fatal(err)
	}
	if err := w.Keep(t.Context(), staging, nil); err != nil || w.List(staging)[0].State != service.StateReady {
		t.Errorf("a fork is not kept until it is provisioned: %v", err)
	}
	services := one(springtide.Service{})
	if err := w.Provision(t.Context(), staging, services, func(string) {}); err != nil {
		t.Fatal(err)
	}
	variables, err := w.Variables(staging, services)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(t.Context(), variables["DB_URL"], "mail"); err != nil || got != "nobody" {
		t.Errorf("the copy says %q: %v", got, err)
	}
	w.expect("db", "mail", "me@example.com")

	// Once more, onto one that is there.
	w.write("colour", "green")
	if err := w.Fork(t.Context(), serviceID("db"), to, ""); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t.Context(), variables["DB_URL"], "colour"); err != nil || got != "green" {
		t.Errorf("under the same URL the new copy says %q: %v", got, err)
	}
	if err := w.Fork(t.Context(), serviceID("db"), to, ""); springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("a third fork, with the first one kept: %v", err)
	}
}

func TestASwapIsUndoneByAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	services := one(springtide.Service{Replica: true})
	w.provision(services)
	w.write("colour", "green")
	url := w.url("db")
	w.restore("db-restored", "colour restored\n")
	w.expect("db-restored", "colour", "restored")
	w.expect("db", "colour", "green")
	for _, want := range []string{"restored", "green", "restored"} {
		if err := w.Swap(t.Context(), serviceID("db"), serviceID("db-restored")); err != nil {
			t.Fatal(err)
		}
		if w.url("db") != url {
			t.Error("its URL has changed")
		}
		w.expect("db", "colour", want)
		if w.status("db-restored").State != service.StateStopped {
			t.Error("the other one still runs")
		}
		w.eventually("a replica follows", func() bool { return w.server(service.RoleReplica).State == service.StateReady })
	}
	w.end()
	w.run()
	w.waitReady()
	w.expect("db", "colour", "restored")
	if err := w.Destroy(t.Context(), serviceID("db-restored")); err != nil {
		t.Fatal(err)
	}
	w.expect("db", "colour", "restored")
	if err := w.Restart(t.Context(), serviceID("db")); err != nil {
		t.Fatal(err)
	}
	w.expect("db", "colour", "restored")
}

// restore makes a service apart from what a backup might have held.
func (w *world) restore(name springtide.ServiceName, lines string) {
	w.t.Helper()
	made, err := w.Draft(w.t.Context(), serviceID(name), serviceID("db"))
	if err != nil {
		w.t.Fatal(err)
	}
	data := filepath.Join(made.Folder, "data")
	if err := os.Mkdir(data, 0o777); err != nil {
		w.t.Fatal(err)
	}
	for file, text := range map[string]string{"version": made.Version, "log": lines} {
		if err := os.WriteFile(filepath.Join(data, file), []byte(text), 0o666); err != nil {
			w.t.Fatal(err)
		}
	}
	filepath.Walk(data, func(path string, _ os.FileInfo, _ error) error {
		return os.Chown(path, made.User.UID, made.User.GID)
	})
	if err := w.Adopt(w.t.Context(), serviceID(name), made); err != nil {
		w.t.Fatal(err)
	}
}

func TestWhatWasRestoredElsewhereIsAdopted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.provision(one(springtide.Service{}))
	w.write("colour", "green")
	if err := w.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	made, _, err := w.Server(serviceID("db"))
	if err != nil {
		t.Fatal(err)
	}
	w.end()
	elsewhere := filepath.Join(filepath.Dir(w.folder), "elsewhere")
	if err := os.Rename(made.Folder, elsewhere); err != nil {
		t.Fatal(err)
	}
	w.run()
	made.Folder = elsewhere
	if err := w.Adopt(t.Context(), serviceID("drill"), made); err != nil {
		t.Fatal(err)
	}
	w.expect("drill", "colour", "green")
}

func TestAnUpgradeIsRehearsedAndThenDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.provision(one(springtide.Service{Version: "1"}))
	w.write("colour", "green")
	pid := w.server(service.RolePrimary).PID
	if _, err := w.Upgrade(t.Context(), serviceID("db"), "2", true); err != nil {
		t.Fatal(err)
	}
	if w.server(service.RolePrimary).PID != pid || len(w.List(quiz)) != 1 {
		t.Errorf("a rehearsal leaves %+v", w.List(quiz))
	}
	if _, err := w.Upgrade(t.Context(), serviceID("db"), "2", false); err != nil {
		t.Fatal(err)
	}
	w.expect("db", "colour", "green")
	if w.status("db").Version != "2" || w.status("db-old").Version != "1" || w.status("db-old").State != service.StateStopped {
		t.Errorf("there is %+v", w.List(quiz))
	}
	if _, err := w.Upgrade(t.Context(), serviceID("db"), "1", false); springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("an upgrade to an older version: %v", err)
	}
	if err := w.Swap(t.Context(), serviceID("db"), serviceID("db-old")); err != nil {
		t.Fatal(err)
	}
	if w.status("db").Version != "1" {
		t.Error("it was not swapped back")
	}
	w.expect("db", "colour", "green")
}

// TestWhatWasInstalledBeforeIsUpgradedWithoutIt has the package of a version be
// replaced by that of the next, as a distribution does: nothing serves any more.
func TestWhatWasInstalledBeforeIsUpgradedWithoutIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.provision(one(springtide.Service{Version: "1"}))
	w.write("colour", "green")
	if err := w.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.end()
	w.options.Drivers = map[springtide.ServiceKind]service.Driver{fakeKind: replacedDriver{fakeDriver{fakeProgram, func() {}}}}
	w.run()
	w.eventually("it is down", func() bool { return w.status("db").State == service.StateDown })
	if err := w.Provision(t.Context(), quiz, one(springtide.Service{Version: "1"}), func(string) {}); springtide.KindOf(err) != springtide.Failed {
		t.Errorf("%s: %v", springtide.KindOf(err), err)
	}
	for _, rehearse := range []bool{true, false} {
		if _, err := w.Upgrade(t.Context(), serviceID("db"), "2", rehearse); err != nil {
			t.Fatal(err)
		}
		if rehearse && (w.status("db").Version != "1" || len(w.List(quiz)) != 1) {
			t.Errorf("a rehearsal leaves %+v", w.List(quiz))
		}
	}
	w.expect("db", "colour", "green")
	if w.status("db").Version != "2" {
		t.Errorf("it is of version %s", w.status("db").Version)
	}
}

// replacedDriver has the second version only: what is of the first cannot begin.
type replacedDriver struct{ fakeDriver }

func (replacedDriver) Versions() []string { return []string{"2"} }

func (r replacedDriver) Process(s service.Server) service.Process {
	process := r.fakeDriver.Process(s)
	if s.Version == "1" {
		process.Path = "/nowhere/fake-1"
	}
	return process
}

func TestAnUpgradeWhoseServerDoesNotServeIsSwappedBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *service.Options) {
		o.Drivers = map[springtide.ServiceKind]service.Driver{fakeKind: spoilingDriver{fakeDriver{fakeProgram, func() {}}}}
	})
	w.provision(one(springtide.Service{Version: "1"}))
	w.write("colour", "green")
	_, err := w.Upgrade(t.Context(), serviceID("db"), "2", false)
	if err == nil || !strings.Contains(err.Error(), "the data is broken") {
		t.Errorf("the upgrade says: %v", err)
	}
	if w.status("db").Version != "1" || len(w.List(quiz)) != 1 {
		t.Errorf("there is %+v", w.List(quiz))
	}
	w.expect("db", "colour", "green")
}

// spoilingDriver upgrades to data that is of no use.
type spoilingDriver struct{ fakeDriver }

func (s spoilingDriver) Upgrade(ctx context.Context, from, to service.Server) error {
	return errors.Join(s.fakeDriver.Upgrade(ctx, from, to), os.WriteFile(filepath.Join(to.Folder, "data", "broken"), nil, 0o644))
}
