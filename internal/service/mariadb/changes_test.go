package mariadb_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/mariadb"
	"github.com/springtide/springtide/internal/service/servicetest"
)

// often finishes binary logs as often as it is asked.
var often = quick{mariadb.Driver{FinishAfter: time.Nanosecond, Zones: "none"}}

// archive is where segments are shipped to.
type archive map[string][]byte

// ship takes all segments that wait, as whoever keeps backups does.
func (a archive) ship(t *testing.T, server *servicetest.Server) {
	t.Helper()
	folder, err := often.Changes(t.Context(), server.Server)
	check(t, err)
	entries, err := os.ReadDir(folder)
	check(t, err)
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		a[entry.Name()], err = os.ReadFile(path)
		check(t, err)
		check(t, os.Remove(path))
	}
}

// fetch gives a segment back.
func (a archive) fetch(_ context.Context, name string, to io.Writer) error {
	data, ok := a[name]
	if !ok {
		return springtide.Errorf(springtide.NotFound, "there is no %s", name)
	}
	_, err := to.Write(data)
	return err
}

// nextSecond waits until another second has begun: binary logs know no less.
func nextSecond() time.Time {
	next := time.Now().Truncate(time.Second).Add(time.Second)
	time.Sleep(time.Until(next))
	return next
}

func TestATableThatWasDroppedIsThereTheSecondBefore(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	db, shipped := app(t, server), archive{}
	do(t, db, "CREATE TABLE answers (id INT PRIMARY KEY, text BLOB)")
	do(t, db, "CREATE VIEW v AS SELECT COUNT(*) AS n FROM answers")
	do(t, db, "INSERT INTO answers VALUES (1, 'before the backup')")
	shipped.ship(t, server)
	var backup bytes.Buffer
	info, err := often.Backup(t.Context(), server.Server, &backup)
	check(t, err)
	if info.Rows["quiz.answers"] != 1 || !strings.HasPrefix(info.Begin, "binlog.") || !strings.HasPrefix(info.End, "binlog.") {
		t.Errorf("the backup is %+v", info)
	}
	nextSecond()
	do(t, db, "INSERT INTO answers VALUES (2, 'after it')")
	shipped.ship(t, server)
	// A rotation and a restart are among the changes.
	next := service.Login{Name: "quiz_2", Password: "x"}
	check(t, often.Rotate(t.Context(), server.Server, next))
	server.Kill()
	server.Start()
	db = app(t, server)
	do(t, db, "INSERT INTO answers VALUES (3, ?)", "in binary: \x00\xff'\\;\n")
	moment := nextSecond()
	do(t, db, "DROP TABLE answers")
	do(t, db, "CREATE TABLE later (id INT)")
	shipped.ship(t, server)
	if len(shipped) < 3 {
		t.Errorf("%d segments were shipped", len(shipped))
	}
	server.Stop()
	restore := func(until service.RestoreTo) (*servicetest.Server, error) {
		to := servicetest.New(t, often, spec)
		began := time.Now()
		err := often.Restore(t.Context(), to.Server, bytes.NewReader(backup.Bytes()), until)
		if err == nil {
			t.Logf("restored in %s", time.Since(began).Round(time.Millisecond))
			to.Start()
			to.Settle()
		}
		return to, err
	}
	t.Run("ToTheSecondBefore", func(t *testing.T) {
		to, err := restore(service.RestoreTo{Time: moment, Changes: shipped.fetch})
		check(t, err)
		defer to.Stop()
		restored := app(t, to)
		var text string
		check(t, restored.QueryRow("SELECT text FROM answers WHERE id = 3").Scan(&text))
		if n := number(t, restored, "SELECT n FROM v"); n != 3 || text != "in binary: \x00\xff'\\;\n" {
			t.Errorf("it has %d answers, the third is %q", n, text)
		}
		if err := open(often.URL(to.Server, next)).PingContext(t.Context()); err == nil {
			t.Error("a login of the original is let in")
		}
		found, err := often.Verify(t.Context(), to.Server)
		if err != nil || len(found.Problems) > 0 || found.Rows["quiz.answers"] != 3 {
			t.Errorf("verified %+v: %v", found, err)
		}
		if rows, err := often.Rows(t.Context(), to.Server); err != nil || rows["quiz.answers"] != 3 {
			t.Errorf("counted %v: %v", rows, err)
		}
	})
	t.Run("ToTheEndFromAFolder", func(t *testing.T) {
		to := servicetest.New(t, often, spec)
		folder := filepath.Join(to.Folder, "changes")
		check(t, os.Mkdir(folder, 0o755))
		for name, data := range shipped {
			check(t, os.WriteFile(filepath.Join(folder, name), data, 0o644))
		}
		check(t, often.Restore(t.Context(), to.Server, bytes.NewReader(backup.Bytes()), service.RestoreTo{}))
		to.Start()
		defer to.Stop()
		to.Settle()
		do(t, app(t, to), "SELECT * FROM later")
		if _, err := os.Stat(folder); err == nil {
			t.Error("the segments are there still")
		}
	})
	t.Run("NotToBeforeTheBackup", func(t *testing.T) {
		if _, err := restore(service.RestoreTo{Time: moment.Add(-time.Hour), Changes: shipped.fetch}); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("got %v", err)
		}
	})
	t.Run("NotWithoutASegment", func(t *testing.T) {
		to := servicetest.New(t, often, spec)
		folder := filepath.Join(to.Folder, "changes")
		check(t, os.Mkdir(folder, 0o755))
		check(t, os.WriteFile(filepath.Join(folder, "binlog.000099"), nil, 0o644))
		err := often.Restore(t.Context(), to.Server, bytes.NewReader(backup.Bytes()), service.RestoreTo{})
		if springtide.KindOf(err) != springtide.Failed || !strings.Contains(err.Error(), "missing") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("NotWithADamagedSegment", func(t *testing.T) {
		damaged := archive{}
		for name, data := range shipped {
			damaged[name] = bytes.Clone(data)
			damaged[name][len(data)/2] ^= 0x10
		}
		if _, err := restore(service.RestoreTo{Changes: damaged.fetch}); springtide.KindOf(err) != springtide.Failed {
			t.Errorf("got %v", err)
		}
	})
	t.Run("NotFromHalfABackup", func(t *testing.T) {
		to := servicetest.New(t, often, spec)
		for _, part := range []int{backup.Len() / 2, backup.Len() - 2000, 0} {
			err := often.Restore(t.Context(), to.Server, bytes.NewReader(backup.Bytes()[:part]), service.RestoreTo{})
			if springtide.KindOf(err) != springtide.Failed {
				t.Errorf("with %d of %d bytes: %v", part, backup.Len(), err)
			}
		}
		if _, err := os.Stat(filepath.Join(to.Folder, "data")); err == nil {
			t.Error("there is data of a backup that is not whole")
		}
		check(t, os.Mkdir(filepath.Join(to.Folder, "data"), 0o700))
		err := often.Restore(t.Context(), to.Server, &backup, service.RestoreTo{})
		if springtide.KindOf(err) != springtide.Conflict {
			t.Errorf("over data: %v", err)
		}
	})
}

func TestEachFinishedBinaryLogIsHandedOutOnce(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	do(t, app(t, server), "CREATE TABLE t (id INT)")
	waiting := func(driver service.Backuper) (names []string) {
		folder, err := driver.Changes(t.Context(), server.Server)
		check(t, err)
		entries, err := os.ReadDir(folder)
		check(t, err)
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		return names
	}
	later := mariadb.Driver{FinishAfter: time.Hour}
	if names := waiting(later); len(names) > 0 {
		t.Errorf("%v was finished before its time", names)
	}
	first := waiting(often)
	if len(first) == 0 {
		t.Fatal("nothing was finished")
	}
	if again := waiting(often); len(again) != len(first) {
		t.Errorf("a log without a transaction was finished: %v", again)
	}
	for _, name := range first {
		check(t, os.Remove(filepath.Join(server.Folder, "changes", name)))
	}
	if again := waiting(often); len(again) > 0 {
		t.Errorf("%v came again", again)
	}
	// Killed before it was written down what was handed out, it is again.
	check(t, os.Remove(filepath.Join(server.Folder, "changes.last")))
	if again := waiting(often); len(again) != len(first) {
		t.Errorf("it was not handed out again: %v", again)
	}
	do(t, app(t, server), "INSERT INTO t VALUES (1)")
	check(t, later.Finish(t.Context(), server.Server))
	if asked := waiting(later); len(asked) != len(first)+1 {
		t.Errorf("after it was to be finished at once there are %v", asked)
	}
	replica := server.Replica()
	if folder, err := often.Changes(t.Context(), replica.Server); folder != "" || err != nil {
		t.Errorf("a replica keeps changes in %q: %v", folder, err)
	}
}

func TestADumpIsReadByAnotherServerAndAnUpgradeKeepsTheData(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	db := app(t, server)
	do(t, db, "CREATE TABLE t (id INT PRIMARY KEY, data BLOB)")
	do(t, db, "INSERT INTO t VALUES (1, X'00ff27')")
	do(t, db, "CREATE FUNCTION one() RETURNS INT RETURN 1")
	var dump bytes.Buffer
	check(t, often.Dump(t.Context(), server.Server, &dump))
	server.Stop()
	to := servicetest.New(t, often, spec)
	for range 2 {
		check(t, often.Upgrade(t.Context(), server.Server, to.Server))
	}
	to.Start()
	to.Settle()
	upgraded := app(t, to)
	if n := number(t, upgraded, "SELECT one() + COUNT(*) FROM t WHERE data = X'00ff27'"); n != 2 {
		t.Errorf("upgraded to %d", n)
	}
	do(t, upgraded, "DROP FUNCTION one")
	do(t, upgraded, "DROP TABLE t")
	load := to.Command(t.Context(), often.Shell(to.Server))
	load.Stdin = &dump
	if output, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if n := number(t, upgraded, "SELECT one() + COUNT(*) FROM t WHERE data = X'00ff27'"); n != 2 {
		t.Errorf("loaded %d", n)
	}
}

func TestAKilledServerLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	setup := app(t, server)
	do(t, setup, "CREATE TABLE t (writer INT, id INT, PRIMARY KEY (writer, id))")
	const writers = 4
	var last [writers]int
	var done sync.WaitGroup
	for writer := range writers {
		db := app(t, server)
		done.Go(func() {
			for id := 1; ; id++ {
				if _, err := db.Exec("INSERT INTO t VALUES (?, ?)", writer, id); err != nil {
					return
				}
				last[writer] = id
			}
		})
	}
	eventually(t, func() bool { return number(t, setup, "SELECT COUNT(*) FROM t") > 100 })
	server.Kill()
	done.Wait()
	server.Start()
	db, all := app(t, server), 0
	for writer, id := range last {
		all += id
		if n := number(t, db, fmt.Sprintf("SELECT COUNT(*) FROM t WHERE writer = %d AND id <= %d", writer, id)); n != id {
			t.Errorf("writer %d has %d of %d rows that were acknowledged", writer, n, id)
		}
	}
	t.Logf("%d rows acknowledged, none lost", all)
}

func TestAReplicaGoesOnWhereItsPrimaryIsFoundNow(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	do(t, app(t, server), "CREATE TABLE t (id INT)")
	replica := server.Replica()
	check(t, often.Follow(t.Context(), replica.Server))
	replica.Start()
	server.Stop()
	check(t, often.Ready(t.Context(), replica.Server)) // it serves what it has
	server.Address = servicetest.New(t, often, spec).Address
	server.Start()
	do(t, app(t, server), "INSERT INTO t VALUES (1)")
	replica.Primary = server.Address
	eventually(t, func() bool {
		if often.Ready(t.Context(), replica.Server) != nil {
			return false
		}
		var n int
		return app(t, replica).QueryRow("SELECT COUNT(*) FROM t").Scan(&n) == nil && n == 1
	})
	lag, behind, err := often.Lag(t.Context(), replica.Server)
	if err != nil || lag > 10*time.Second || behind > 1<<20 {
		t.Errorf("it lags %s, %d bytes: %v", lag, behind, err)
	}
	// What it cannot apply is said, and it is not promoted in silence.
	shell := replica.Command(t.Context(), often.Shell(replica.Server))
	shell.Stdin = strings.NewReader("SET sql_log_bin = 0; DROP TABLE t;")
	output, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	do(t, app(t, server), "INSERT INTO t VALUES (2)")
	eventually(t, func() bool { return often.Ready(t.Context(), replica.Server) != nil })
	t.Log(often.Ready(t.Context(), replica.Server))
	if err := often.Promote(t.Context(), replica.Server); springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("promoted: %v", err)
	}
}

func TestADamagedTableIsFound(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	db := app(t, server)
	do(t, db, "CREATE TABLE t (id INT PRIMARY KEY, text TEXT, KEY (text(20)))")
	for i := range 200 {
		do(t, db, "INSERT INTO t VALUES (?, ?)", i, strings.Repeat("x", 500))
	}
	db.Close()
	server.Stop()
	path := filepath.Join(server.Folder, "data", "quiz", "t.ibd")
	data, err := os.ReadFile(path)
	check(t, err)
	for at := 4*16<<10 + 200; at < len(data); at += 16 << 10 {
		data[at] ^= 0x40
	}
	check(t, os.WriteFile(path, data, 0o600))
	server.Start()
	found, err := often.Verify(t.Context(), server.Server)
	if err == nil && len(found.Problems) == 0 {
		t.Errorf("nothing was found: %+v", found)
	}
	t.Log(found.Problems, err)
}
