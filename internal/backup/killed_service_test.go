package backup

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/service"
)

// serviceHelper is the folder that the test binary works in as a process that is
// killed.
const serviceHelper = "TEST_BACKUP_SERVICE_HELPER"

// keeperIn is a keeper that has everything in a folder.
func keeperIn(t *testing.T, folder string, wrap func(Target) Target) (*Keeper, *fakeServices) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "identity"))
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.ParseX25519Identity(string(text))
	if err != nil {
		t.Fatal(err)
	}
	services := newFakeServices(filepath.Join(folder, "services"), &fakeDriver{})
	return New(Options{
		Target:     wrap(openTarget(t, "file://"+filepath.Join(folder, "target"), TargetOptions{Records: filepath.Join(folder, "records")})),
		Services:   services,
		Identities: []age.Identity{identity}, Recipients: []age.Recipient{identity.Recipient()},
		Plans: func(context.Context) ([]Plan, error) {
			return []Plan{{SubjectOf(fakeID), springtide.Backup{Keep: 3 * time.Second, PointInTime: true}}}, nil
		},
	}), services
}

// doomed is a target whose user is killed in the middle of something, soon after
// it has been used some times.
type doomed struct {
	Target
	left atomic.Int64
}

func (d *doomed) use() {
	if d.left.Add(-1) == 0 {
		time.AfterFunc(time.Duration(rand.IntN(10))*time.Millisecond, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) })
	}
}

func (d *doomed) Put(ctx context.Context, name string, from io.Reader) error {
	d.use()
	defer d.use()
	return d.Target.Put(ctx, name, from)
}

func (d *doomed) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	d.use()
	return d.Target.Get(ctx, name)
}

func (d *doomed) Delete(ctx context.Context, name string) error {
	d.use()
	return d.Target.Delete(ctx, name)
}

// number is kept in a file.
func number(file string) int {
	text, _ := os.ReadFile(file)
	n, _ := strconv.Atoi(string(text))
	return n
}

// TestServiceHelperProcess is no test: another runs it to have it killed. It
// writes, ships, backs up and restores, until it is killed.
func TestServiceHelperProcess(t *testing.T) {
	folder := os.Getenv(serviceHelper)
	if folder == "" {
		t.Skip("it is run by another test")
	}
	k, services := keeperIn(t, folder, func(target Target) Target {
		d := &doomed{Target: target}
		d.left.Store(int64(1 + rand.IntN(100)))
		return d
	})
	server, driver := services.servers[fakeID], services.driver.(*fakeDriver)
	runs, safe := filepath.Join(folder, "runs"), filepath.Join(folder, "safe")
	for {
		for range 3 {
			if _, err := writeRow(server); err != nil {
				t.Fatal(err)
			}
			if _, err := driver.Changes(t.Context(), server); err != nil {
				t.Fatal(err)
			}
			rows, err := readRows(server)
			if err := errors.Join(err, driver.Finish(t.Context(), server)); err != nil {
				t.Fatal(err)
			}
			if k.Ship(t.Context()); k.Standings()[0].Waiting != 0 {
				t.Fatal("changes were not shipped")
			}
			if err := durable.WriteFile(safe, []byte(strconv.Itoa(rows)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		run := springtide.Run{
			ID: springtide.RunID(strconv.Itoa(number(runs))), Fence: springtide.Fence(time.Now().UnixNano()),
			Environment: fakeID.Environment, Kind: springtide.RunBackup, Payload: []byte(`{"of":"db"}`),
		}
		if outcome := k.Execute(t.Context(), run); outcome.Verdict != jobs.Succeeded {
			t.Fatalf("%+v", outcome)
		}
		if err := durable.WriteFile(runs, []byte(strconv.Itoa(number(runs)+1)), 0o600); err != nil {
			t.Fatal(err)
		}
		restored, err := k.Restore(t.Context(), RestoreRequest{From: fakeID, As: "again"})
		if err := errors.Join(err, services.Destroy(t.Context(), restored.Service)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryListedBackupRestoresWhereverTheKeeperIsKilled(t *testing.T) {
	folder := t.TempDir()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "identity"), []byte(identity.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	const kills = 10
	for kill := 1; kill <= kills; kill++ {
		command := exec.Command(os.Args[0], "-test.run=^TestServiceHelperProcess$", "-test.count=1")
		command.Env = append(os.Environ(), serviceHelper+"="+folder)
		said, err := command.CombinedOutput()
		if exit, is := errors.AsType[*exec.ExitError](err); !is || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the helper was not killed, but: %v\n%s", err, said)
		}
		if kill%5 == 0 {
			checkAll(t, folder)
		}
	}
	t.Logf("%d backups in %d kills, %d rows", number(filepath.Join(folder, "runs")), kills, number(filepath.Join(folder, "safe")))
}

// checkAll restores every backup that is listed.
func checkAll(t *testing.T, folder string) {
	t.Helper()
	k, services := keeperIn(t, folder, func(target Target) Target { return target })
	of := SubjectOf(fakeID)
	checked, err := k.Verify(t.Context(), of)
	if err != nil || len(checked.Problems) > 0 {
		t.Fatalf("verified %+v, %v", checked, err)
	}
	all, err := k.List(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.Kind != KindWhole {
			continue
		}
		rows := restoreInto(t, k, services, RestoreRequest{From: fakeID, Backup: m.ID, To: m.Finished, As: "checked"})
		if rows < int(m.Rows["log"]) {
			t.Errorf("backup %s has %d rows, and has come back with %d", m.ID, m.Rows["log"], rows)
		}
	}
	if rows, safe := restoreInto(t, k, services, RestoreRequest{From: fakeID, As: "checked"}), number(filepath.Join(folder, "safe")); rows < safe {
		t.Errorf("%d rows were said to be safe, and %d have come back", safe, rows)
	}
}

func restoreInto(t *testing.T, k *Keeper, services *fakeServices, request RestoreRequest) int {
	t.Helper()
	restored, err := k.Restore(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	var server service.Server
	if server, _, err = services.Server(restored.Service); err != nil {
		t.Fatal(err)
	}
	rows, err := readRows(server)
	if err := errors.Join(err, services.Destroy(t.Context(), restored.Service)); err != nil {
		t.Fatal(err)
	}
	return rows
}
