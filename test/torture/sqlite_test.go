package torture

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // registers itself as sqlite

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/control"
	"github.com/springtide/springtide/internal/manifest"
)

// serve is the whole life of a server's process, whose clock is off by what a
// file says.
func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	app, _, err := manifest.Load(".", springtide.Production)
	if err != nil {
		return err
	}
	return control.RunLedger(ctx, control.LedgerOptions{
		DataFolder: os.Getenv("TIDE_DATA"), Listen: os.Getenv(listenVariable), App: app, Token: token,
		Ready:  func(net.Addr) {},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Now: func() time.Time {
			text, _ := os.ReadFile(os.Getenv(clockVariable))
			offset, err := time.ParseDuration(string(text))
			if err != nil {
				panic(err) // the file is replaced as a whole
			}
			return time.Now().Add(offset)
		},
	})
}

func TestAServerOnSQLiteKeepsItsPromise(t *testing.T) {
	t.Parallel()
	s := sized(*jobsFlag/10, *slotsFlag/5, *forFlag*3/4)
	w := newWorld(t, 1, 120)
	c := &chaos{w: w, random: random(t), fill: smallDisk(t, filepath.Join(w.folder, "data-0"))}
	w.location = filepath.Join(w.folder, "data-0", "jobs.db")
	w.addServer(func(listen, data string) *exec.Cmd {
		return w.program("servers", []string{roleVariable + "=server", listenVariable + "=" + listen, "TIDE_DATA=" + data, clockVariable + "=" + w.clock}, w.helper)
	})
	w.prepare()
	for i := range 2 {
		w.runners = append(w.runners, w.addRunner(i))
	}
	for i := range 3 {
		w.workers = append(w.workers, w.addWorker(i, false))
	}
	made := torture(t, w, c, s, 2, 20, time.Second)
	longJump(t, w, c)
	w.drain()
	w.retire()
	numbers := w.check()
	if made < int64(s.jobs) || numbers["slots recorded"] < s.slots {
		t.Errorf("%d jobs and %d slots are too few", made, numbers["slots recorded"])
	}
}

// smallDisk mounts a disk of its own on a folder, and gives what fills it; nil
// if we may not mount.
func smallDisk(t *testing.T, folder string) (fill func() (free func() error, err error)) {
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=256m"); err != nil {
		t.Logf("the disk is never full: it would have to be mounted, but: %v", err)
		return nil
	}
	t.Cleanup(func() {
		if data, err := os.ReadFile(filepath.Join(folder, "jobs.db")); err == nil && t.Failed() {
			_ = os.WriteFile(folder+".db", data, 0o600) // it is for whoever looks what went wrong
		}
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return func() (func() error, error) {
		file, err := os.Create(filepath.Join(folder, "filler"))
		if err != nil {
			return nil, err
		}
		for block := make([]byte, 1<<20); len(block) > 512; {
			if _, err := file.Write(block); err != nil {
				block = block[:len(block)/2]
			}
		}
		return func() error { return errors.Join(file.Close(), os.Remove(file.Name())) }, nil
	}
}
