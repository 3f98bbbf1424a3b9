package postgres_test

import (
	"bytes"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/postgres"
)

func TestTheAppReachesItsDatabaseAndNothingElse(t *testing.T) {
	t.Parallel()
	small := spec()
	small.Connections, small.Extensions = 2, []string{"citext", "pg_trgm"}
	server := started(t, small)
	with := func(change func(*url.URL)) string {
		address, err := url.Parse(server.URL())
		if err != nil {
			t.Fatal(err)
		}
		change(address)
		return address.String()
	}
	query := func(text string) func(*url.URL) { return func(u *url.URL) { u.RawQuery = text } }
	for name, allowed := range map[string]string{
		"with TLS":    with(query("sslmode=require")),
		"without TLS": with(query("sslmode=disable")),
	} {
		if err := connected(t.Context(), allowed, nothing); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	replication := server.Logins.Replication
	for name, refused := range map[string]string{
		"another database":   with(func(u *url.URL) { u.Path = "/postgres" }),
		"a template":         with(func(u *url.URL) { u.Path = "/template1" }),
		"the superuser":      with(func(u *url.URL) { u.User = url.UserPassword("postgres", "") }),
		"the owner":          with(func(u *url.URL) { u.User = url.UserPassword("app_owner", "") }),
		"the log":            with(query("replication=true")),
		"the replica's role": with(func(u *url.URL) { u.User = url.UserPassword(replication.Name, replication.Password) }),
	} {
		if err := connected(t.Context(), refused, nothing); !hasCode(err, "28000") && !hasCode(err, "28P01") {
			t.Errorf("%s: %v", name, err)
		}
	}
	execute(t, server.URL(), "create extension hstore")
	execute(t, server.URL(), "create schema more; create table more.words (word citext)")
	execute(t, server.URL(), "create index on more.words using gin (word gin_trgm_ops)")
	if owner := administer(t, server, "select string_agg(distinct tableowner, ',') from pg_tables where schemaname = 'more'"); owner != "app_owner" {
		t.Errorf("what the app makes belongs to %s", owner)
	}
	for _, statement := range []string{"create role other", "create extension file_fdw", "copy more.words from program 'id'", "alter system set work_mem = '1GB'"} {
		err := connected(t.Context(), server.URL(), func(conn *pgx.Conn) error {
			_, err := conn.Exec(t.Context(), statement)
			return err
		})
		if !hasCode(err, "42501") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	twoAreTaken := func(conn *pgx.Conn) error {
		return connected(t.Context(), server.URL(), func(*pgx.Conn) error { return connected(t.Context(), server.URL(), nothing) })
	}
	if err := connected(t.Context(), server.URL(), twoAreTaken); !hasCode(err, "53300") {
		t.Errorf("a third connection of two: %v", err)
	}
}

func nothing(*pgx.Conn) error { return nil }

func TestASettledServer(t *testing.T) {
	t.Parallel()
	server := started(t, spec())
	t.Run("tells which statements are slow", func(t *testing.T) { tellsWhatIsSlow(t, server) })
	t.Run("has no password in any file", func(t *testing.T) { hasNoPassword(t, server) })
	t.Run("refuses extensions that are not allowed or not installed", func(t *testing.T) { refusesExtensions(t, server) })
}

func hasNoPassword(t *testing.T, server one) {
	t.Helper()
	next := service.Login{Name: "quiz_2", Password: strings.Repeat("secret", 4)}
	if err := server.Driver.Rotate(t.Context(), server.Server.Server, next); err != nil {
		t.Fatal(err)
	}
	administer(t, server, "checkpoint")
	err := filepath.WalkDir(server.Folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil //nolint:nilerr // the server removes files all the time
		}
		content, _ := os.ReadFile(path)
		for _, login := range []service.Login{server.Logins.Current, server.Logins.Replication, next} {
			if bytes.Contains(content, []byte(login.Password)) {
				t.Errorf("%s holds the password of %s", path, login.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func refusesExtensions(t *testing.T, server one) {
	t.Helper()
	for name, kind := range map[string]springtide.ErrorKind{"file_fdw": springtide.Denied, "semver": springtide.Unavailable} {
		server.Spec.Extensions = []string{name}
		err := server.Driver.Settle(t.Context(), server.Server.Server)
		if springtide.KindOf(err) != kind || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %s: %v", name, springtide.KindOf(err), err)
		}
	}
}

func TestAVersionThatIsNotInstalledIsAClearError(t *testing.T) {
	t.Parallel()
	driver := postgres.New(postgres.Options{Programs: t.TempDir()})
	err := driver.Create(t.Context(), service.Server{Version: "99", Folder: t.TempDir()})
	if springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), "apt-get install postgresql-99") {
		t.Errorf("%s: %v", springtide.KindOf(err), err)
	}
}

func tellsWhatIsSlow(t *testing.T, server one) {
	t.Helper()
	execute(t, server.URL(), "select pg_sleep(6)") // longer than anything else takes, on a busy machine too
	info, err := server.Driver.Inspect(t.Context(), server.Server.Server)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Statements) == 0 || !strings.Contains(info.Statements[0].Text, "pg_sleep") || info.Statements[0].Calls != 1 || info.Statements[0].Mean.Seconds() < 6 {
		t.Errorf("the slowest are %+v", info.Statements)
	}
	if info.Details["changes"] != "not kept" || info.MaxConnections != 100 || !strings.HasPrefix(info.Details["version"], server.Version) {
		t.Errorf("it says %+v", info)
	}
}
