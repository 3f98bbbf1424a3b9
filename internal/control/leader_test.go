package control

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

// row is the leadership that several share; away says that it does not answer.
type row struct {
	mutex  sync.Mutex
	leader store.Leader
	away   bool
}

var errAway = springtide.Errorf(springtide.Unavailable, "the store does not answer")

// seat is a control plane's connection to it.
type seat struct {
	*row
	token int64
	cut   bool // from the row
}

func (s *seat) reach(do func()) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.away || s.cut {
		return errAway
	}
	do()
	return nil
}

func (s *seat) Leader(context.Context) (leader store.Leader, err error) {
	err = s.reach(func() { leader = s.leader })
	return leader, err
}

func (s *seat) Lead(_ context.Context, holder string, seen store.Leader) (leads bool, err error) {
	err = s.reach(func() {
		if leads = s.leader == seen; leads {
			s.leader.Holder, s.leader.Token = holder, seen.Token+1
			s.token = seen.Token + 1
		}
	})
	return leads, err
}

func (s *seat) Beat(context.Context) (leads bool, err error) {
	err = s.reach(func() {
		if leads = s.leader.Token == s.token; leads {
			s.leader.Beats++
		}
	})
	return leads, err
}

func newLeader(of *row, holder string) (*leader, *seat) {
	s := &seat{row: of}
	return &leader{store: s, holder: holder, logger: slog.New(slog.DiscardHandler)}, s
}

func nobodyTold(store.Leader, error) {}

func TestAFollowerTakesOverFromALeaderThatWasKilledAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := &row{}
		first, _ := newLeader(of, "first")
		second, _ := newLeader(of, "second")
		if err := first.await(t.Context(), nobodyTold); err != nil {
			t.Fatal(err)
		}
		ctx, kill := context.WithCancel(t.Context())
		go func() { _ = first.keep(ctx) }()
		leads := make(chan time.Time, 1)
		go func() {
			if err := second.await(t.Context(), nobodyTold); err == nil {
				leads <- time.Now()
			}
		}()
		time.Sleep(time.Hour)
		select {
		case <-leads:
			t.Fatal("it took over from a leader that lives")
		default:
		}
		kill()
		began := time.Now()
		if took := (<-leads).Sub(began); took < takeOverAfter-beatEvery || took > takeOverAfter+2*lookEvery {
			t.Errorf("it took over after %s", took)
		}
	})
}

func TestALeaderThatIsCutOffEndsBeforeAnotherBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := &row{}
		first, own := newLeader(of, "first")
		second, _ := newLeader(of, "second")
		if err := first.await(t.Context(), nobodyTold); err != nil {
			t.Fatal(err)
		}
		ended := make(chan time.Time, 1)
		go func() {
			if err := first.keep(t.Context()); springtide.KindOf(err) != springtide.Unavailable || !errors.Is(err, errAway) {
				t.Errorf("it ended with %v", err)
			}
			ended <- time.Now()
		}()
		time.Sleep(10 * time.Second)
		of.mutex.Lock()
		own.cut = true
		of.mutex.Unlock()
		if err := second.await(t.Context(), nobodyTold); err != nil {
			t.Fatal(err)
		}
		if spare := time.Since(<-ended); spare < endWithin {
			t.Errorf("the other began %s after the end of the first", spare)
		}
	})
}

func TestALeaderOutlivesAStoreThatRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := &row{}
		l, _ := newLeader(of, "first")
		if err := l.await(t.Context(), nobodyTold); err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.keep(ctx) }()
		for range 5 {
			for _, away := range []bool{true, false} {
				of.mutex.Lock()
				of.away = away
				of.mutex.Unlock()
				time.Sleep(stopAfter - 2*beatEvery)
			}
		}
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestALeaderThatAnotherTookOverFromEndsWithItsNextBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := &row{}
		first, _ := newLeader(of, "first")
		if err := first.await(t.Context(), nobodyTold); err != nil {
			t.Fatal(err)
		}
		of.leader.Token++
		if err := first.keep(t.Context()); springtide.KindOf(err) != springtide.Conflict {
			t.Errorf("it ended with %v", err)
		}
	})
}

func TestTheNextControlPlaneOfTheSameFolderNeedNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := &row{leader: store.Leader{Holder: "first", Token: 7, Beats: 9}}
		l, _ := newLeader(of, "first")
		began := time.Now()
		if err := l.await(t.Context(), nobodyTold); err != nil || time.Since(began) > 0 || of.leader.Token != 8 {
			t.Errorf("after %s: %v, %+v", time.Since(began), err, of.leader)
		}
	})
}

func TestADataFolderKeepsItsNameAndAnotherHasAnother(t *testing.T) {
	folder := t.TempDir()
	first, err := holderName(folder, "")
	if err != nil {
		t.Fatal(err)
	}
	again, err := holderName(folder, "")
	if err != nil || again != first {
		t.Errorf("%q is called %q later, %v", first, again, err)
	}
	other, err := holderName(t.TempDir(), "")
	if err != nil || other == first {
		t.Errorf("two folders are called %q, %v", other, err)
	}
	if _, err := os.Stat(filepath.Join(folder, "holder")); err != nil {
		t.Error(err)
	}
}
