package postgres_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
	"github.com/springtide/springtide/internal/store/postgres"
)

// seen is who leads now.
func seen(t *testing.T, s *postgres.Store) store.Leader {
	t.Helper()
	leader, err := s.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return leader
}

// lead has a store lead from now on.
func lead(t *testing.T, s *postgres.Store, holder string) {
	t.Helper()
	if leads, err := s.Lead(t.Context(), holder, seen(t, s)); !leads || err != nil {
		t.Fatalf("%s does not lead: %v", holder, err)
	}
}

func wantBeat(t *testing.T, s *postgres.Store, want bool) {
	t.Helper()
	if leads, err := s.Beat(t.Context()); leads != want || err != nil {
		t.Fatalf("leads: %t, %v, want %t", leads, err, want)
	}
}

func TestALeaderThatAnotherTookOverFromWritesNoMore(t *testing.T) {
	location := emptyDatabase(t)
	first, second := open(t, location), open(t, location)
	id := springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	lead(t, first, "first")
	if _, err := second.CreateEnvironment(t.Context(), id); err != nil {
		t.Errorf("who follows may write what its user wants: %v", err)
	}
	lead(t, second, "second")
	wantBeat(t, first, false)
	for what, err := range map[string]error{
		"a write": second1(first.SetStopped(t.Context(), id, true)),
		"a note":  second1(first.AddEvents(t.Context(), []springtide.Event{{Message: "late"}})),
	} {
		if springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), "another control plane leads") {
			t.Errorf("%s of a deposed leader: %v", what, err)
		}
	}
	if environment, err := first.Environment(t.Context(), id); err != nil || environment.Stopped {
		t.Errorf("it reads %+v, %v", environment, err)
	}
	wantBeat(t, second, true)
	if _, err := second.SetStopped(t.Context(), id, true); err != nil {
		t.Error(err)
	}
}

func second1[T any](_ T, err error) error { return err }

func TestOnlyOneTakesOverFromALeaderThatDoesNotStir(t *testing.T) {
	location := emptyDatabase(t)
	dead := open(t, location)
	lead(t, dead, "dead")
	before := seen(t, dead)
	var leaders atomic.Int32
	var all sync.WaitGroup
	for range 6 {
		s := open(t, location)
		all.Go(func() {
			if leads, err := s.Lead(t.Context(), "next", before); err != nil {
				t.Error(err)
			} else if leads {
				leaders.Add(1)
			}
		})
	}
	all.Wait()
	if leaders.Load() != 1 {
		t.Errorf("%d lead", leaders.Load())
	}
}

func TestNobodyTakesOverFromALeaderThatHasStirred(t *testing.T) {
	location := emptyDatabase(t)
	first, second := open(t, location), open(t, location)
	lead(t, first, "first")
	before := seen(t, second)
	wantBeat(t, first, true)
	if leads, err := second.Lead(t.Context(), "second", before); leads || err != nil {
		t.Fatalf("leads: %t, %v", leads, err)
	}
	wantBeat(t, first, true)
}

func TestALeaderThatResignsLeavesThePlaceEmptyAndWritesNoMore(t *testing.T) {
	location := emptyDatabase(t)
	first, second := open(t, location), open(t, location)
	if err := second.Resign(t.Context()); err != nil { // it has nothing to resign from
		t.Fatal(err)
	}
	lead(t, first, "first")
	if err := first.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if leader := seen(t, second); leader.Holder != "" {
		t.Errorf("there is still a leader: %+v", leader)
	}
	if _, err := first.CreateEnvironment(t.Context(), springtide.EnvironmentID{App: "quiz", Name: "staging"}); springtide.KindOf(err) != springtide.Unavailable {
		t.Errorf("it writes: %v", err)
	}
	lead(t, second, "second")
}
