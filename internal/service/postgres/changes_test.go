package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/servicetest"
)

const segmentSize = 16 << 20

// TestWhatIsKeptOfTheLogSurvivesKills kills the server while it writes, switches
// segments and has them copied: what is there is whole, and with the backup it
// gives back all that was acknowledged.
func TestWhatIsKeptOfTheLogSurvivesKills(t *testing.T) {
	t.Parallel()
	server := started(t, spec())
	folder := changes(t, server)
	execute(t, server.URL(), "create table numbers (n int primary key)")
	backup, _ := backedUp(t, server)
	var acknowledged []int
	next := 0
	for range 4 {
		var writers sync.WaitGroup
		var enough atomic.Bool
		writers.Go(func() {
			_ = connected(t.Context(), server.URL(), func(conn *pgx.Conn) error { // it ends with the server
				for {
					next++
					if _, err := conn.Exec(t.Context(), "insert into numbers values ($1)", next); err != nil {
						return err
					}
					acknowledged = append(acknowledged, next)
					enough.Store(len(acknowledged)%50 == 49 || enough.Load())
				}
			})
		})
		for switched := 0; switched < 3 || !enough.Load(); switched++ {
			administer(t, server, "select pg_switch_wal()")
		}
		server.Kill()
		writers.Wait()
		server.Start()
	}
	finish(t, server, folder)
	for _, name := range fill(t, folder) {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil || len(name) == len("000000010000000000000001") && info.Size() != segmentSize {
			t.Errorf("%s is not whole: %v %v", name, info.Size(), err)
		}
	}
	restored := servicetest.New(t, server.Driver, spec())
	restore(t, restored, backup, service.RestoreTo{Changes: from(folder)})
	restored.Start()
	restored.Settle()
	err := connected(t.Context(), restored.URL(), func(conn *pgx.Conn) error {
		var there int
		err := conn.QueryRow(t.Context(), "select count(*) from numbers where n = any ($1)", acknowledged).Scan(&there)
		if err == nil && there != len(acknowledged) {
			err = fmt.Errorf("%d of %d acknowledged rows are back", there, len(acknowledged))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSegmentsAreKeptOnlyForWhoShipsThemAndNotWithoutEnd(t *testing.T) {
	t.Parallel()
	server := started(t, spec())
	write := func() string {
		execute(t, server.URL(), "drop table if exists latest; create table latest as select 1")
		return administer(t, server, "select pg_walfile_name(pg_switch_wal())")
	}
	archived := func(name string) {
		eventually(t, name+" is dealt with", func() bool {
			return administer(t, server, "select last_archived_wal >= '"+name+"' from pg_stat_archiver") == "t"
		})
	}
	archived(write())
	if _, err := os.Stat(filepath.Join(server.Folder, "changes")); !os.IsNotExist(err) {
		t.Errorf("segments are kept though nobody asked for them: %v", err)
	}
	folder := changes(t, server)
	name := write()
	archived(name)
	if got := fill(t, folder); len(got) != 1 || got[0] != name {
		t.Errorf("%v are kept, not %s", got, name)
	}

	large, err := os.Create(filepath.Join(folder, ".large"))
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	if err := unix.Fallocate(int(large.Fd()), 0, 0, 256<<20); err != nil {
		t.Fatal(err)
	}
	archived(write())
	if got := fill(t, folder); len(got) != 1 {
		t.Errorf("%v are kept beyond the limit", got)
	}
	said := func() string {
		info, err := server.Driver.Inspect(t.Context(), server.Server.Server)
		if err != nil {
			t.Fatal(err)
		}
		return info.Details["changes"]
	}
	if got := said(); !strings.Contains(got, "dropped") {
		t.Errorf("the gap is not told of: %s", got)
	}
	backedUp(t, server)
	if got := said(); strings.Contains(got, "dropped") {
		t.Errorf("the gap is told of after the next backup: %s", got)
	}

	// A different segment of the same name is never replaced.
	if err := os.Remove(large.Name()); err != nil {
		t.Fatal(err)
	}
	next := administer(t, server, "select pg_walfile_name(pg_current_wal_insert_lsn())")
	copyFile(t, filepath.Join(folder, name), filepath.Join(folder, next), server.User)
	write()
	eventually(t, "the server complains", func() bool {
		return administer(t, server, "select failed_count > 0 from pg_stat_archiver") == "t"
	})
	one, err1 := os.ReadFile(filepath.Join(folder, name))
	two, err2 := os.ReadFile(filepath.Join(folder, next))
	if err1 != nil || err2 != nil || !bytes.Equal(one, two) {
		t.Errorf("a segment was replaced: %v %v", err1, err2)
	}
}

// TestANewPrimaryKeepsTheLogWhereTheOldOneEnded promotes a replica whose primary
// had not shipped anything yet: the new one's folder goes back to the backup.
func TestANewPrimaryKeepsTheLogWhereTheOldOneEnded(t *testing.T) {
	t.Parallel()
	replicated := spec()
	replicated.Replica = true
	primary := started(t, replicated)
	changes(t, primary)
	replica := follow(t, primary)
	backup, _ := backedUp(t, primary)
	execute(t, primary.URL(), "create table questions as select n from generate_series(1, 100) n")
	administer(t, primary, "select pg_switch_wal()")
	execute(t, primary.URL(), "insert into questions select n from generate_series(101, 200) n")
	eventually(t, "the replica has it", func() bool { return lag(t, replica) == 0 })
	if err := os.WriteFile(filepath.Join(primary.Folder, "lineage"), []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	primary.Kill()
	if err := replica.Driver.Promote(t.Context(), replica.Server.Server); err != nil {
		t.Fatal(err)
	}
	replica.Role = service.RolePrimary
	replica.Settle()
	execute(t, replica.URL(), "insert into questions select n from generate_series(201, 300) n")
	folder := changes(t, replica)
	finish(t, replica, folder)
	if lineage, err := os.ReadFile(filepath.Join(replica.Folder, "lineage")); err != nil || string(lineage) != "one" {
		t.Errorf("the changes are of lineage %q: %v", lineage, err)
	}

	restored := servicetest.New(t, primary.Driver, spec())
	restore(t, restored, backup, service.RestoreTo{Changes: from(folder)})
	restored.Start()
	restored.Settle()
	if got := count(t, restored.URL(), "questions"); got != 300 {
		t.Errorf("%d rows are back, not 300", got)
	}
}

// follow gives a running replica of the primary.
func follow(t *testing.T, primary one) one {
	t.Helper()
	replica := one{primary.Replica(), primary.Driver}
	if err := replica.Driver.Follow(t.Context(), replica.Server.Server); err != nil {
		t.Fatal(err)
	}
	replica.Start()
	return replica
}

func lag(t *testing.T, replica one) int64 {
	t.Helper()
	_, bytes, err := replica.Driver.Lag(context.WithoutCancel(t.Context()), replica.Server.Server)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}
