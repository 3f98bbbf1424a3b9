package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

func TestCommitsWaitForASynchronousStandbyThatIsAwayUntilThePrimaryIsSettledWithoutIt(t *testing.T) {
	t.Parallel()
	synchronous := spec()
	synchronous.Replica, synchronous.Synchronous = true, true
	primary := started(t, synchronous)
	replica := follow(t, primary)
	primary.Standby = true
	primary.Settle()
	insert := func(key string, limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return put(ctx, primary.URL(), key, "x")
	}
	if err := primary.Driver.Acknowledge(t.Context(), primary.Server.Server); err != nil {
		t.Fatal(err)
	}
	if err := insert("together", time.Minute); err != nil {
		t.Fatal(err)
	}
	replica.Kill()
	if err := primary.Driver.Acknowledge(withLimit(t, time.Second), primary.Server.Server); err == nil {
		t.Error("a standby that is away acknowledged a change")
	}
	if err := insert("alone", time.Second); err == nil {
		t.Fatal("a commit was acknowledged that no standby has")
	}
	// Also when the primary starts anew, before anybody settles it.
	primary.Kill()
	primary.Start()
	if err := insert("again", time.Second); err == nil {
		t.Fatal("a commit was acknowledged after a start that no standby has")
	}
	if err := primary.Driver.Rotate(withLimit(t, time.Second), primary.Server.Server, service.Login{Name: "quiz_2", Password: "y"}); err == nil {
		t.Error("a login was made that no standby has")
	}
	replica.Start()
	if err := insert("back", time.Minute); err != nil {
		t.Errorf("the standby is back: %v", err)
	}
	replica.Kill()
	waiting := make(chan error, 1)
	go func() { waiting <- insert("released", time.Minute) }()
	eventually(t, "a commit waits", func() bool {
		return administer(t, primary, "select exists (select from pg_stat_activity where wait_event = 'SyncRep')") == "t"
	})
	primary.Standby = false
	primary.Settle()
	if err := <-waiting; err != nil {
		t.Errorf("it was settled without a standby: %v", err)
	}
}

func withLimit(t *testing.T, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func TestAReplicaThatWasAwayForTooLongIsMadeAnew(t *testing.T) {
	t.Parallel()
	replicated := spec()
	replicated.Replica = true
	primary := started(t, replicated)
	replica := follow(t, primary)
	execute(t, primary.URL(), "create table questions as select n from generate_series(1, 100) n")
	eventually(t, "the replica has it", func() bool { return lag(t, replica) == 0 })
	replica.Stop()
	administer(t, primary, "select pg_drop_replication_slot('replica')")
	replica.Start()
	if _, _, err := replica.Driver.Lag(t.Context(), replica.Server.Server); springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("%s: %v", springtide.KindOf(err), err)
	}
	replica.Stop()
	if err := replica.Driver.Follow(t.Context(), replica.Server.Server); err != nil {
		t.Fatal(err)
	}
	replica.Start()
	execute(t, primary.URL(), "insert into questions values (0)")
	eventually(t, "the replica follows", func() bool { return lag(t, replica) == 0 && count(t, replica.URL(), "questions") == 101 })

	// What nobody follows by is not kept.
	replica.Stop()
	primary.Spec.Replica = false
	primary.Settle()
	if slots := administer(t, primary, "select count(*) from pg_replication_slots"); slots != "0" {
		t.Errorf("%s slots are left", slots)
	}
}

func TestWhatOneLoginMadeTheNextMayChange(t *testing.T) {
	t.Parallel()
	server := started(t, spec())
	old, next := server.Logins.Current, service.Login{Name: "quiz_2", Password: "next"}
	execute(t, server.URL(), "create table questions (n int)")
	execute(t, server.URL(), "reset role; create table answers (n int)")
	if err := server.Driver.Rotate(t.Context(), server.Server.Server, next); err != nil {
		t.Fatal(err)
	}
	url := server.Driver.URL(server.Server.Server, next)
	execute(t, url, "alter table questions add column text text")
	err := connected(t.Context(), server.URL(), func(conn *pgx.Conn) error {
		if err := server.Driver.Retire(t.Context(), server.Server.Server, old); err != nil {
			return err
		}
		_, err := conn.Exec(t.Context(), "select 1")
		return err
	})
	if err == nil {
		t.Error("a connection of a login that was retired goes on")
	}
	execute(t, url, "alter table answers add column text text")
}
