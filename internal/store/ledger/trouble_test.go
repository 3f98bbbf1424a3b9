package ledger

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

// inWriter says something to the connection that writes to SQLite.
func (w *world) inWriter(statement string) {
	w.t.Helper()
	w.must(w.transact(context.Background(), func(tx *transaction) error {
		_, err := all(tx, value[any], statement)
		return err
	}))
}

func TestAFullDiskRefusesWritesAndRecoversByItself(t *testing.T) {
	w := sqliteWorld(t)
	w.enqueue(springtide.Job{})
	w.inWriter("PRAGMA max_page_count = 1")
	large := springtide.Job{Command: strings.Repeat("x", springtide.PayloadLimit)}
	_, err := w.Enqueue(t.Context(), quiz, []springtide.Job{large}, nil)
	wantKind(t, err, springtide.Unavailable)
	if !strings.Contains(err.Error(), "the disk is full") {
		t.Error(err)
	}
	if n := len(w.claim(10)); n != 1 {
		t.Errorf("%d runs are there", n)
	}
	w.inWriter("PRAGMA max_page_count = 100000")
	w.enqueue(large)
}

func TestADatabaseThatIsLockedIsUnavailable(t *testing.T) {
	w := sqliteWorld(t)
	other := w.again()
	w.inWriter("PRAGMA busy_timeout = 10")
	w.must(other.write(t.Context(), func(*transaction) error {
		_, err := w.Enqueue(t.Context(), quiz, []springtide.Job{{}}, nil)
		wantKind(t, err, springtide.Unavailable)
		return nil
	}))
	w.enqueue(springtide.Job{})
}

func TestALedgerThatCannotBeOpenedSaysWhy(t *testing.T) {
	for name, location := range map[string]string{
		"no folder":    filepath.Join(t.TempDir(), "none", "jobs.db"),
		"no server":    "postgres://nobody@127.0.0.1:1/ledger",
		"not a ledger": filepath.Join(t.TempDir(), "jobs.db"),
	} {
		if name == "not a ledger" {
			if err := os.WriteFile(location, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Open(t.Context(), location, Options{})
		if err == nil || springtide.KindOf(err) == springtide.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := Open(t.Context(), "postgres://%zz", Options{})
	wantKind(t, err, springtide.Invalid)
	location, err := url.Parse(emptyDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	location.User = url.User("nobody-there")
	_, err = Open(t.Context(), location.String(), Options{})
	wantKind(t, err, springtide.Invalid)
	l, err := Open(t.Context(), location.String(), Options{Patient: true}) // it may be let in later
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestALedgerOfANewerVersionIsRefused(t *testing.T) {
	w := sqliteWorld(t)
	w.inWriter("PRAGMA user_version = 1000")
	err := w.migrate(t.Context(), "sqlite", "PRAGMA user_version", "PRAGMA user_version = %d")
	wantKind(t, err, springtide.Failed)
	p := postgresWorld(t)
	p.must(p.write(t.Context(), func(tx *transaction) error {
		_, err := tx.exec("UPDATE ledger_version SET version = 1000")
		return err
	}))
	err = p.migrate(t.Context(), "postgres", "SELECT version FROM ledger_version FOR UPDATE", "UPDATE ledger_version SET version = %d")
	wantKind(t, err, springtide.Failed)
}

func TestOneChangeOfAGroupThatFailsLeavesTheOthers(t *testing.T) {
	w := sqliteWorld(t)
	busy, free := make(chan struct{}), make(chan struct{})
	go func() {
		_ = w.write(context.Background(), func(*transaction) error {
			close(busy)
			<-free
			return nil
		})
	}()
	<-busy
	wrong := errors.New("wrong")
	results := make(chan error, 3)
	for n := range 3 {
		go func() {
			results <- w.write(context.Background(), func(tx *transaction) error {
				_, err := tx.exec("INSERT INTO happenings (kind, run) VALUES ('test', $1)", n)
				if n == 1 {
					return wrong
				}
				return err
			})
		}()
	}
	close(free)
	failed := 0
	for range 3 {
		if errors.Is(<-results, wrong) {
			failed++
		}
	}
	if n, err := one(w.view(t.Context()), nil, value[int], "SELECT count(*) FROM happenings"); err != nil || n != 2 || failed != 1 {
		t.Errorf("%d were written, %d failed, %v", n, failed, err)
	}
}

func TestACallThatWaitsEndsWithItsContext(t *testing.T) {
	w := sqliteWorld(t)
	w.must(w.write(t.Context(), func(*transaction) error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.Enqueue(ctx, quiz, []springtide.Job{{}}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		return nil
	}))
	if n := len(w.claim(1)); n != 0 {
		t.Error("it was carried out all the same")
	}
	w.must(w.Close())
	w.must(w.Close())
	_, err := w.Enqueue(t.Context(), quiz, []springtide.Job{{}}, nil)
	wantKind(t, err, springtide.Unavailable)
}
