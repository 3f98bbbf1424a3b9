package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/postgres"
	"github.com/springtide/springtide/internal/service/servicetest"
)

func TestACopyMayHaveItsDatabaseByAnotherName(t *testing.T) {
	t.Parallel()
	server := started(t, spec())
	execute(t, server.URL(), "create table questions as select n from generate_series(1, 100) n")
	copied := servicetest.New(t, server.Driver, spec())
	copied.Logins.Database = "quiz_staging"
	if err := server.Driver.Fork(t.Context(), server.Server.Server, copied.Server); err != nil {
		t.Fatal(err)
	}
	copied.Start()
	copied.Settle()
	if got := count(t, copied.URL(), "questions"); got != 100 {
		t.Errorf("%d rows in the copy", got)
	}
}

func TestAnUpgradeTakesTheDataAlongByPgUpgradeOrByADump(t *testing.T) {
	t.Parallel()
	for name, withChecksums := range map[string]bool{"by pg_upgrade": true, "by a dump": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			extended := spec()
			extended.Extensions = []string{"hstore", "earthdistance"}
			old := started(t, extended)
			var log bytes.Buffer
			old.Driver = postgres.New(postgres.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			execute(t, old.URL(), "create table questions as select n, hstore('n', n::text) from generate_series(1, 100) n")
			execute(t, old.URL(), "create materialized view odd as select n from questions where n % 2 = 1")
			if withChecksums {
				old.Kill() // it is recovered first
				eventually(t, "its children end", func() bool { return !inUse(old.Server) })
			} else {
				old.Stop()
				tool(t, old, "pg_checksums", "--disable", "--pgdata="+filepath.Join(old.Folder, "data"))
			}
			upgraded := servicetest.New(t, old.Driver, extended)
			if withChecksums {
				upgradeHalf(t, old, upgraded.Server)
			}
			for range 2 {
				if err := old.Driver.Upgrade(t.Context(), old.Server.Server, upgraded.Server); err != nil {
					t.Fatal(err)
				}
			}
			if dumped := strings.Contains(log.String(), "dumped and restored"); dumped == withChecksums {
				t.Errorf("it was done the other way: %s", &log)
			}
			upgraded.Start()
			upgraded.Settle()
			to := one{upgraded, old.Driver}
			if rows := count(t, upgraded.URL(), "questions"); rows != 100 || count(t, upgraded.URL(), "odd") != 50 {
				t.Errorf("%d rows were taken along", rows)
			}
			if known := administer(t, to, "select reltuples from pg_class where relname = 'questions'"); known != "100" {
				t.Errorf("the planner expects %s rows", known)
			}
			if checksums := administer(t, to, "show data_checksums"); checksums != "on" {
				t.Error("the new data has no checksums")
			}
			execute(t, upgraded.URL(), "alter table questions add column text text")
			old.Start()
			if rows := count(t, old.URL(), "questions"); rows != 100 {
				t.Errorf("%d rows are left in the old data", rows)
			}
		})
	}
}

// upgradeHalf ends an upgrade while pg_upgrade has a server on the old data.
func upgradeHalf(t *testing.T, old one, to service.Server) {
	t.Helper()
	for {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- old.Driver.Upgrade(ctx, old.Server.Server, to) }()
		eventually(t, "pg_upgrade has started the old server", func() bool {
			content, _ := os.ReadFile(filepath.Join(old.Folder, "data", "postmaster.pid"))
			return strings.Contains(string(content), "/upgrade") || len(done) > 0
		})
		cancel()
		err := <-done
		if err == nil { // it was over before anybody looked
			if err := os.RemoveAll(filepath.Join(to.Folder, "data")); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended: %v", err)
		}
		break
	}
	eventually(t, "no server is left", func() bool { return !inUse(old.Server) })
}

func TestAnOlderVersionDoesNotTakeTheData(t *testing.T) {
	t.Parallel()
	err := postgres.New(postgres.Options{}).Upgrade(t.Context(), service.Server{Version: "15"}, service.Server{Version: "9"})
	if springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("%v", err)
	}
}

// TestDamageIsFound flips bytes in the middle of a table.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	server := started(t, spec())
	execute(t, server.URL(), "create table questions as select n, md5(n::text) from generate_series(1, 10000) n; ")
	execute(t, server.URL(), "create table answers as select 1; create index on questions (md5)")
	found, err := server.Driver.Verify(t.Context(), server.Server.Server)
	if err != nil || len(found.Problems) > 0 || found.Rows["public.questions"] != 10000 || found.Rows["public.answers"] != 1 || !strings.Contains(found.Checked, "pg_amcheck") {
		t.Errorf("before the damage: %+v: %v", found, err)
	}
	var dump bytes.Buffer
	if err := server.Driver.Dump(t.Context(), server.Server.Server, &dump); err != nil || !bytes.HasPrefix(dump.Bytes(), []byte("PGDMP")) {
		t.Errorf("the dump of %d bytes: %v", dump.Len(), err)
	}
	for _, relation := range []string{"questions_md5_idx", "questions"} {
		path := filepath.Join(server.Folder, "data", administer(t, server, "select pg_relation_filepath('"+relation+"')"))
		server.Stop()
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt([]byte("damaged"), 3*8192+4000); err != nil {
			t.Fatal(err)
		}
		file.Close()
		server.Start()
		found, err = server.Driver.Verify(t.Context(), server.Server.Server)
		if err != nil || len(found.Problems) == 0 {
			t.Errorf("after the damage of %s: %+v: %v", relation, found, err)
		}
	}
}

// tool runs one of PostgreSQL's programs.
func tool(t *testing.T, server one, name string, args ...string) {
	t.Helper()
	path := filepath.Join(filepath.Dir(server.Driver.Process(server.Server.Server).Path), name)
	if output, err := server.Command(t.Context(), service.Process{Path: path, Args: args}).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
}

// inUse says whether a process of a killed server is still in its data.
func inUse(server *servicetest.Server) bool {
	folders, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, folder := range folders {
		if target, err := os.Readlink(folder); err == nil && target == filepath.Join(server.Folder, "data") {
			return true
		}
	}
	return false
}
