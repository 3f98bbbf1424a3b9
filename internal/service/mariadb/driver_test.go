package mariadb_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/mariadb"
	"github.com/springtide/springtide/internal/service/servicetest"
)

var (
	_ service.Follower = mariadb.Driver{}
	_ service.Rotator  = mariadb.Driver{}
	_ service.Forker   = mariadb.Driver{}
	_ service.Upgrader = mariadb.Driver{}
	_ service.Backuper = mariadb.Driver{}
)

// quick runs servers that do not sync: a kill loses nothing by that, only a power
// cut would.
type quick struct{ mariadb.Driver }

func (q quick) Process(server service.Server) service.Process {
	process := q.Driver.Process(server)
	process.Args = append(process.Args, "--debug-no-sync", "--innodb-flush-method=nosync")
	return process
}

// usual knows no time zones, which take a second.
var usual = quick{mariadb.Driver{Zones: "none"}}

var spec = springtide.Service{Kind: springtide.ServiceMariaDB, Memory: 32 << 20, Connections: 20}

func TestTheDriverDoesAsTheManagerExpects(t *testing.T) {
	t.Parallel()
	servicetest.Run(t, servicetest.Kit{
		Driver: usual, Spec: spec, Synchronous: true,
		Write: func(ctx context.Context, url, key, value string) error {
			db := open(url)
			defer db.Close()
			_, err := db.ExecContext(ctx, "REPLACE INTO words VALUES (?, ?)", key, value)
			if is(err, 1146) { // there is no table yet
				_, err = db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS words (word VARCHAR(100) PRIMARY KEY, value TEXT)")
				if err == nil {
					_, err = db.ExecContext(ctx, "REPLACE INTO words VALUES (?, ?)", key, value)
				}
			}
			return err
		},
		Read: func(ctx context.Context, url, key string) (value string, err error) {
			db := open(url)
			defer db.Close()
			err = db.QueryRowContext(ctx, "SELECT value FROM words WHERE word = ?", key).Scan(&value)
			if errors.Is(err, sql.ErrNoRows) || is(err, 1146) {
				err = nil
			}
			return value, err
		},
	})
}

// is reports whether an error has the server's number.
func is(err error, number uint16) bool {
	failed, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && failed.Number == number
}

// open gives a database that is one connection.
func open(text string) *sql.DB {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr, config.DBName = u.User.Username(), "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	config.Passwd, _ = u.User.Password()
	config.Logger, config.InterpolateParams = &mysql.NopLogger{}, true
	connector, err := mysql.NewConnector(config)
	if err != nil {
		panic(err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db
}

// started gives a settled primary.
func started(t *testing.T, spec springtide.Service) *servicetest.Server {
	t.Helper()
	server := servicetest.New(t, usual, spec)
	server.Create()
	server.Start()
	server.Settle()
	return server
}

func app(t *testing.T, server *servicetest.Server) *sql.DB {
	t.Helper()
	db := open(server.URL())
	t.Cleanup(func() { db.Close() })
	return db
}

func do(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%.80s: %v", statement, err)
	}
}

func number(t *testing.T, db *sql.DB, query string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestTheAppAndItsServer puts one server through what an app may and may not do.
func TestTheAppAndItsServer(t *testing.T) {
	t.Parallel()
	server := servicetest.New(t, quick{}, spec)
	server.Logins.Current.Password = "p@ss:/?#[]%20 \"'\\`\n\x01é&=+"
	server.Logins.Database = "quiz_a"
	server.Create()
	server.Start()
	server.Settle()
	t.Run("PasswordsMayHaveAnyBytes", func(t *testing.T) {
		do(t, app(t, server), "SELECT 1")
		for _, name := range []string{"binlog.000001", "binlog.000002"} {
			if text, err := os.ReadFile(filepath.Join(server.Folder, "data", name)); err == nil && strings.Contains(string(text), "p@ss") {
				t.Errorf("the password is in %s", name)
			}
		}
	})
	t.Run("TheAppHasItsDatabaseOnly", func(t *testing.T) { testRights(t, server) })
	t.Run("TheAppHasItsConnectionsOnly", func(t *testing.T) { testConnections(t, server) })
	t.Run("TheDatabaseSpeaksUTF8", func(t *testing.T) {
		db := app(t, server)
		do(t, db, "CREATE TABLE smiles (text VARCHAR(10))")
		do(t, db, "INSERT INTO smiles VALUES ('😀')")
		if n := number(t, db, "SELECT COUNT(*) FROM smiles WHERE text = '😀' AND CHAR_LENGTH(text) = 1"); n != 1 {
			t.Error("the smile is another")
		}
	})
	t.Run("TimeZonesHaveNames", func(t *testing.T) {
		if _, err := os.Stat("/usr/share/zoneinfo/Europe/Warsaw"); err != nil {
			t.Skip("the machine has no time zones")
		}
		if n := number(t, app(t, server), "SELECT HOUR(CONVERT_TZ('2026-07-01 12:00:00', 'UTC', 'Europe/Warsaw'))"); n != 14 {
			t.Errorf("noon is at %d in Warsaw", n)
		}
	})
	t.Run("NobodyElseIsLetIn", func(t *testing.T) {
		for _, name := range []string{"root", "platform", "mysql", "mariadb.sys", ""} {
			db := open(mariadb.Driver{}.URL(server.Server, service.Login{Name: name}))
			defer db.Close()
			if err := db.PingContext(t.Context()); err == nil {
				t.Errorf("%q is let in without a password", name)
			}
		}
	})
	t.Run("SlowStatementsAreSeen", func(t *testing.T) { testInspect(t, server) })
	t.Run("SettlingAgainWritesNothing", func(t *testing.T) {
		position := func() (at string) {
			info, err := mariadb.Driver{}.Inspect(t.Context(), server.Server)
			check(t, err)
			return info.Details["gtid_current_pos"]
		}
		before := position()
		server.Settle()
		if after := position(); after != before {
			t.Errorf("it wrote from %s to %s", before, after)
		}
	})
	t.Run("ADatabaseThatTheAppDroppedIsMadeAgain", func(t *testing.T) {
		do(t, app(t, server), "DROP DATABASE quiz_a")
		server.Settle()
		do(t, app(t, server), "CREATE TABLE again (id INT)")
	})
	t.Run("MemoryIsChangedWhileItRuns", func(t *testing.T) {
		server.Spec.Memory = 48 << 20
		server.Settle()
		info, err := mariadb.Driver{}.Inspect(t.Context(), server.Server)
		if err != nil || info.Details["innodb_buffer_pool_size"] != "50331648" {
			t.Errorf("it is %s: %v", info.Details["innodb_buffer_pool_size"], err)
		}
	})
	t.Run("TheLogOfSlowStatementsIsBounded", func(t *testing.T) {
		log := filepath.Join(server.Folder, "log", "slow.log")
		check(t, os.Truncate(log, 9<<20))
		check(t, mariadb.Driver{}.Ready(t.Context(), server.Server))
		if info, err := os.Stat(log); err != nil || info.Size() > 1<<20 {
			t.Errorf("it is %v: %v", info, err)
		}
	})
	t.Run("TheShellIsThePlatforms", func(t *testing.T) {
		command := server.Command(t.Context(), mariadb.Driver{}.Shell(server.Server))
		command.Stdin = strings.NewReader("SELECT CURRENT_USER(), DATABASE()")
		if output, err := command.CombinedOutput(); err != nil || !strings.Contains(string(output), "platform@localhost\tquiz_a") {
			t.Errorf("it says %q: %v", output, err)
		}
	})
}

func testRights(t *testing.T, server *servicetest.Server) {
	db := app(t, server)
	for _, statement := range []string{
		"CREATE TABLE t (id INT PRIMARY KEY, n INT)", "INSERT INTO t VALUES (1, 1)", "CREATE INDEX i ON t (n)", "CREATE VIEW v AS SELECT * FROM t",
		"CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.n + 1", "CREATE FUNCTION f() RETURNS INT RETURN 1",
		"CREATE TEMPORARY TABLE tt (id INT)", "LOCK TABLES t WRITE", "UNLOCK TABLES", "ALTER TABLE t ADD COLUMN m INT", "DROP TABLE t", "DROP VIEW v", "DROP FUNCTION f",
	} {
		do(t, db, statement)
	}
	for _, statement := range []string{
		"CREATE DATABASE other", "CREATE DATABASE quizxa", "SELECT * FROM mysql.global_priv", "CREATE USER u", "GRANT ALL ON *.* TO quiz_1", "SET GLOBAL max_connections = 1",
		"SELECT LOAD_FILE('/etc/passwd')", "SELECT 1 INTO OUTFILE '/tmp/tide-out'", "SHUTDOWN", "FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW()", "SHOW SLAVE STATUS",
		"SET GLOBAL read_only = 1", "INSTALL SONAME 'ha_archive'", "KILL 1", "SET SESSION sql_log_bin = 0", "USE mysql",
	} {
		var value sql.NullString
		err := db.QueryRowContext(t.Context(), statement).Scan(&value)
		if err == nil && value.Valid || errors.Is(err, sql.ErrNoRows) {
			t.Errorf("it may: %s (%q, %v)", statement, value.String, err)
		}
	}
}

func testConnections(t *testing.T, server *servicetest.Server) {
	var all []*sql.DB
	for range spec.Connections {
		all = append(all, app(t, server))
		check(t, all[len(all)-1].PingContext(t.Context()))
	}
	if err := app(t, server).PingContext(t.Context()); !is(err, 1226) {
		t.Errorf("one too many: %v", err)
	}
	info, err := mariadb.Driver{}.Inspect(t.Context(), server.Server)
	if err != nil || info.Connections < spec.Connections || info.MaxConnections != spec.Connections {
		t.Errorf("it has %d of %d connections: %v", info.Connections, info.MaxConnections, err)
	}
	for _, db := range all {
		db.Close()
	}
	eventually(t, func() bool { return app(t, server).PingContext(t.Context()) == nil })
}

func testInspect(t *testing.T, server *servicetest.Server) {
	db := app(t, server)
	do(t, db, "CREATE TABLE slow (id INT)")
	do(t, db, "SELECT SLEEP(6)") // longer than anything else takes, on a busy machine too
	info, err := mariadb.Driver{}.Inspect(t.Context(), server.Server)
	check(t, err)
	if len(info.Statements) == 0 || !strings.Contains(info.Statements[0].Text, "SLEEP") || info.Statements[0].Mean < 6*time.Second || info.Statements[0].Calls != 1 {
		t.Errorf("statements %+v", info.Statements)
	}
	if info.Size <= 0 || !strings.HasPrefix(info.Details["version"], server.Version) {
		t.Errorf("inspected %+v", info)
	}
}

func eventually(t *testing.T, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !met(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to be")
		}
	}
}

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*servicetest.Server){
		"hardly any memory":           func(s *servicetest.Server) { s.Spec.Memory = 1 << 20 },
		"more memory than there is":   func(s *servicetest.Server) { s.Spec.Memory = 1 << 50 },
		"a version that is not there": func(s *servicetest.Server) { s.Version = "5.5" },
	} {
		server := servicetest.New(t, usual, spec)
		change(server)
		err := mariadb.Driver{}.Create(t.Context(), server.Server)
		if springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		t.Log(err)
	}
	if path := (mariadb.Driver{}).Process(service.Server{Version: "5.5"}).Path; path != "/usr/sbin/mariadbd-5.5" {
		t.Errorf("data of another version would be run by %s", path)
	}
}

// TestViewsOutliveTheLoginThatMadeThem is about what goes on with the rights of
// its maker.
func TestViewsOutliveTheLoginThatMadeThem(t *testing.T) {
	t.Parallel()
	server, driver := started(t, spec), usual
	db := app(t, server)
	do(t, db, "CREATE TABLE t (n INT)")
	do(t, db, "CREATE VIEW v AS SELECT n FROM t")
	do(t, db, "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.n + 1")
	old := server.Logins.Current
	server.Logins.Current = service.Login{Name: "quiz_2", Password: "next"}
	check(t, driver.Rotate(t.Context(), server.Server, server.Logins.Current))
	check(t, driver.Retire(t.Context(), server.Server, old))
	if err := db.PingContext(t.Context()); err == nil {
		t.Error("the retired login's connection is open")
	}
	next := app(t, server)
	do(t, next, "INSERT INTO t VALUES (1)")
	if n := number(t, next, "SELECT n FROM v"); n != 2 {
		t.Errorf("the view gives %d", n)
	}
	fork := servicetest.New(t, driver, spec)
	fork.Logins.Current.Name = "quiz_7"
	check(t, driver.Fork(t.Context(), server.Server, fork.Server))
	fork.Start()
	fork.Settle()
	if n := number(t, app(t, fork), "SELECT n FROM v"); n != 2 {
		t.Errorf("the copied view gives %d", n)
	}
	for _, err := range []error{
		driver.Retire(t.Context(), server.Server, server.Logins.Current),
		driver.Retire(t.Context(), server.Server, service.Login{Name: "platform"}),
		driver.Rotate(t.Context(), server.Server, service.Login{Name: "quiz_2", Password: "other"}),
	} {
		if springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("got %v", err)
		}
	}
}
