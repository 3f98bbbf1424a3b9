package mariadb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/servicetest"
)

// orderVariable names the file that tells a test's own program what to restore.
const orderVariable = "SPRINGTIDE_TEST_RESTORE"

// order is what a process of its own restores, to be killed meanwhile.
type order struct {
	Server  service.Server
	Backup  string
	Changes string // a folder
}

func TestMain(m *testing.M) {
	path := os.Getenv(orderVariable)
	if path == "" {
		os.Exit(m.Run())
	}
	if err := carryOut(path); err != nil {
		println(err.Error())
		os.Exit(1)
	}
}

func carryOut(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var o order
	if err := json.Unmarshal(text, &o); err != nil {
		return err
	}
	shipped := archive{}
	names, err := filepath.Glob(filepath.Join(o.Changes, "*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if shipped[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			return err
		}
	}
	backup, err := os.Open(o.Backup)
	if err != nil {
		return err
	}
	defer backup.Close()
	return often.Restore(context.Background(), o.Server, backup, service.RestoreTo{Changes: shipped.fetch})
}

func TestARestoreThatIsKilledBeginsAnewAndLeavesNoServer(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	db, shipped := app(t, server), archive{}
	do(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
	shipped.ship(t, server)
	var backup bytes.Buffer
	_, err := often.Backup(t.Context(), server.Server, &backup)
	check(t, err)
	do(t, db, "INSERT INTO t SELECT seq FROM seq_1_to_5000")
	shipped.ship(t, server)
	server.Stop()

	to, folder := servicetest.New(t, usual, spec), t.TempDir()
	o := order{Server: to.Server, Backup: filepath.Join(folder, "backup"), Changes: filepath.Join(folder, "changes")}
	check(t, os.WriteFile(o.Backup, backup.Bytes(), 0o600))
	check(t, os.Mkdir(o.Changes, 0o700))
	for name, data := range shipped {
		check(t, os.WriteFile(filepath.Join(o.Changes, name), data, 0o600))
	}
	text, err := json.Marshal(o)
	check(t, err)
	path := filepath.Join(folder, "order")
	check(t, os.WriteFile(path, text, 0o600))
	killed := 0
	for after := 50 * time.Millisecond; ; after = after * 3 / 2 {
		command := exec.Command(os.Args[0])
		command.Env = append(os.Environ(), orderVariable+"="+path)
		var said bytes.Buffer
		command.Stderr = &said
		check(t, command.Start())
		timer := time.AfterFunc(after, func() { _ = command.Process.Kill() })
		err := command.Wait()
		timer.Stop()
		eventually(t, func() bool { return !busy(t, to.Folder) })
		if err == nil {
			break
		}
		if status, ok := command.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
			t.Fatalf("after %d kills: %v: %s", killed, err, said.String())
		}
		killed++
		if _, err := os.Stat(filepath.Join(to.Folder, "data")); err == nil {
			break // killed when it was made already
		}
	}
	to.Start()
	to.Settle()
	if n := number(t, app(t, to), "SELECT COUNT(*) FROM t"); n != 5000 {
		t.Errorf("%d rows are back", n)
	}
	t.Logf("killed %d times", killed)
}

// busy reports whether a process has the folder on its command line.
func busy(t *testing.T, folder string) bool {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	check(t, err)
	for _, line := range lines {
		if text, err := os.ReadFile(line); err == nil && strings.Contains(string(text), folder) {
			return true
		}
	}
	return false
}
