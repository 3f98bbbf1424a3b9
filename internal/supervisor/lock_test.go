package supervisor

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/springtide/springtide"
)

func TestALockIsHeldByOneAndTellsWho(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if pid := Holder(path); pid != 0 {
		t.Errorf("%d holds a lock that is not there", pid)
	}
	lock, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if pid := Holder(path); pid != os.Getpid() {
		t.Errorf("%d holds it", pid)
	}
	if _, err := Lock(path); springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("a second lock: %v", err)
	}
	lock.Close()
	if pid := Holder(path); pid != 0 {
		t.Errorf("%d holds a lock that was let go", pid)
	}
}

func TestAskingWhoHoldsALockNeverKeepsAnybodyFromTakingIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	done := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					Holder(path)
				}
			}
		})
	}
	defer asking.Wait()
	defer close(done)
	for range 2000 {
		lock, err := Lock(path)
		if err != nil {
			t.Fatal(err)
		}
		lock.Close()
	}
}
