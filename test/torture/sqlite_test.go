package torture

import (
	"context"
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
	c := &chaos{w: w, random: random(t)}
	w.location = filepath.Join(w.folder, "data-0", "jobs.db")
	w.addServer(func(listen, data string) *exec.Cmd {
		return w.program("servers", []string{roleVariable + "=server", listenVariable + "=" + listen, "TIDE_DATA=" + data, clockVariable + "=" + w.clock}, w.helper)
	})
	w.prepare()
	for i := range 2 {
		w.runners = append(w.runners, w.addRunner(i))
	}
	for i := range 3 {
		w.workers = append(w.workers, w.addWorker(i))
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
