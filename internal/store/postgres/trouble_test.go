package postgres_test

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store/postgres"
	postgres15 "github.com/springtide/springtide/test/postgres"
)

var quiz = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}

// patience is how long a test waits for what takes seconds.
const patience = time.Minute

// session is somebody else's connection to the same tables.
type session struct {
	*pgx.Conn
	t *testing.T
}

func newSession(t *testing.T, location string) session {
	t.Helper()
	config, err := pgx.ParseConfig(location)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["search_path"] = "springtide_store"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return session{conn, t}
}

func (s session) say(statement string) {
	s.t.Helper()
	if _, err := s.Exec(s.t.Context(), statement); err != nil {
		s.t.Fatal(err)
	}
}

// awaitWaiter returns when somebody waits for a lock.
func (s session) awaitWaiter() {
	s.t.Helper()
	for waiting, deadline := 0, time.Now().Add(patience); waiting == 0; {
		err := s.QueryRow(s.t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`).Scan(&waiting)
		if err != nil || time.Now().After(deadline) {
			s.t.Fatalf("nobody waits for a lock: %v", err)
		}
	}
}

// awaitAlone returns when nobody else is connected to the database: what a process
// that was killed has asked for may still be done.
func awaitAlone(t *testing.T, location string) {
	t.Helper()
	s := newSession(t, location)
	defer s.Close(context.Background())
	for others, deadline := 1, time.Now().Add(patience); others > 0; time.Sleep(time.Millisecond) {
		err := s.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()`).Scan(&others)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d are still connected: %v", others, err)
		}
	}
}

// until calls until it succeeds; before that it is Unavailable.
func until(t *testing.T, do func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		err := do()
		if err == nil {
			return
		}
		wantKind(t, err, springtide.Unavailable, "")
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func wantKind(t *testing.T, err error, kind springtide.ErrorKind, text string) {
	t.Helper()
	if err == nil || springtide.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %v, want kind %s and %q", err, kind, text)
	}
}

func create(t *testing.T, s *postgres.Store) error {
	_, err := s.CreateEnvironment(t.Context(), quiz)
	return err
}

func TestAWriteWhoseConnectionIsLostBeforeItsCommitIsMadeAgain(t *testing.T) {
	location := emptyDatabase(t)
	s, other, watcher := open(t, location), newSession(t, location), newSession(t, location)
	other.say("BEGIN; SELECT * FROM leadership FOR UPDATE")
	done := make(chan error, 1)
	go func() { done <- create(t, s) }()
	watcher.awaitWaiter()
	watcher.say(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`)
	other.say("COMMIT")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAWriteThatWaitsInACircleIsMadeAgain(t *testing.T) {
	location := emptyDatabase(t)
	other := newSession(t, location)
	// So long has the circle to be closed in, for it is looked for once.
	other.say("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''6s''', current_database()); END $$")
	s := open(t, location)
	if err := create(t, s); err != nil {
		t.Fatal(err)
	}
	other.say("SET deadlock_timeout = '1min'; BEGIN; UPDATE environments SET stopped = TRUE")
	done := make(chan error, 1)
	go func() {
		_, err := s.SetStopped(t.Context(), quiz, false)
		done <- err
	}()
	newSession(t, location).awaitWaiter()
	other.say("SELECT * FROM leadership FOR UPDATE") // the circle is ended then, by ending the store's
	other.say("COMMIT")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if environment, err := s.Environment(t.Context(), quiz); err != nil || environment.Stopped {
		t.Errorf("%+v, %v", environment, err)
	}
}

func TestWhoIsStoppedInTheMiddleDoesNotKeepOthersForLong(t *testing.T) {
	location := emptyDatabase(t)
	s, stopped := open(t, location), newSession(t, location)
	stopped.say("SET idle_in_transaction_session_timeout = '5s'; BEGIN; SELECT * FROM leadership FOR UPDATE") // as our sessions do
	if err := create(t, s); err != nil {
		t.Fatal(err)
	}
}

func TestAServerThatRestartsIsGoneOnWithByItself(t *testing.T) {
	server := postgres15.Start(t)
	s := open(t, server.URL("store"))
	for i, again := range []func(){
		func() { server.Restart(postgres15.Fast) },
		func() { server.Restart(postgres15.Immediate) },
		func() { server.Kill(); server.Start() },
	} {
		var versions int64
		ctx, cancel := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		for range 3 {
			writers.Go(func() {
				for ctx.Err() == nil {
					if _, err := s.AddEvents(ctx, []springtide.Event{{Message: "written all the time"}}); err != nil && ctx.Err() == nil && springtide.KindOf(err) != springtide.Unavailable {
						t.Errorf("while the server restarts: %v", err)
					}
				}
			})
		}
		until(t, func() (err error) { versions, err = s.NextTableVersion(t.Context()); return err })
		if err := create(t, s); err != nil {
			t.Fatal(err)
		}
		again()
		until(t, func() error { return create(t, s) })
		until(t, func() error { _, err := s.Environment(t.Context(), quiz); return err })
		cancel()
		writers.Wait()
		if next, err := s.NextTableVersion(t.Context()); err != nil || next <= versions {
			t.Errorf("restart %d: version %d after %d, %v", i, next, versions, err)
		}
	}
	server.Stop()
	err := create(t, s)
	wantKind(t, err, springtide.Unavailable, "does not answer")
	server.Start()
	until(t, func() error { return create(t, s) })
}

func TestADatabaseThatTakesNothingSaysWhy(t *testing.T) {
	location := emptyDatabase(t)
	s, other := open(t, location), newSession(t, location)
	other.say(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
		CREATE TRIGGER refuse BEFORE INSERT ON environments EXECUTE FUNCTION refuse()`)
	wantKind(t, create(t, s), springtide.Unavailable, "full disk")
	other.say("DROP TRIGGER refuse ON environments")
	if err := create(t, s); err != nil {
		t.Errorf("after space was made: %v", err)
	}
	other.say("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$")
	_, err := postgres.Open(t.Context(), location, slog.New(slog.DiscardHandler))
	wantKind(t, err, springtide.Unavailable, "is read-only")
}

func TestADatabaseOfANewerVersionIsRefused(t *testing.T) {
	location := emptyDatabase(t)
	open(t, location)
	newSession(t, location).say("UPDATE store_version SET version = 1000")
	_, err := postgres.Open(t.Context(), location, slog.New(slog.DiscardHandler))
	wantKind(t, err, springtide.Failed, "written by a newer version")
}

func TestControlPlanesThatStartAtOnceMigrateOnce(t *testing.T) {
	location := emptyDatabase(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s, err := postgres.Open(t.Context(), location, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if err := create(t, s); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestAnAddressThatIsWrongIsToldFromAServerThatIsAway(t *testing.T) {
	good, err := url.Parse(emptyDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	stranger, nowhere := *good, *good
	stranger.User = url.UserPassword("nobody-there", "secret")
	nowhere.Path = "/none"
	for location, kind := range map[string]springtide.ErrorKind{
		"postgres://%zz":                   springtide.Invalid,
		stranger.String():                  springtide.Invalid,
		nowhere.String():                   springtide.Invalid,
		"postgres://nobody@127.0.0.1:1/db": springtide.Unavailable,
	} {
		_, err := postgres.Open(t.Context(), location, slog.New(slog.DiscardHandler))
		wantKind(t, err, kind, "")
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is told: %v", err)
		}
	}
}

func TestWhatIsNoTextIsKeptAsFarAsItIs(t *testing.T) {
	s := open(t, emptyDatabase(t))
	if err := create(t, s); err != nil {
		t.Fatal(err)
	}
	release, err := s.AddRelease(t.Context(), springtide.Release{Environment: quiz, Description: "a\xffb\x00c"})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := s.Release(t.Context(), release.ID())
	if err != nil || kept.Description != "a\uFFFDb\uFFFDc" {
		t.Errorf("kept %q, %v", kept.Description, err)
	}
}
