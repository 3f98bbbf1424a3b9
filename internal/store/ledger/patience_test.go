package ledger

import (
	"os"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	postgres15 "github.com/springtide/springtide/test/postgres"
)

func TestALedgerWhoseServerIsAwayAtFirstIsUsedOnceItIsThere(t *testing.T) {
	folder, err := os.MkdirTemp("", "patience-") // one that the server's user can reach
	if err == nil {
		err = os.Chmod(folder, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	cluster, err := postgres15.New(folder, postgres15.Options{NoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Stop()
	location, err := cluster.URL(t.Context(), "quiz")
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Stop(); err != nil {
		t.Fatal(err)
	}
	l, err := Open(t.Context(), location, Options{Patient: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 2 {
		wantKind(t, l.SetJobs(t.Context(), quiz, 1, springtide.Jobs{}), springtide.Unavailable)
		_, err = l.Key(t.Context())
		wantKind(t, err, springtide.Unavailable)
	}
	if err := cluster.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); l.SetJobs(t.Context(), quiz, 1, springtide.Jobs{}) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is never used")
		}
	}
	if _, err := l.Enqueue(t.Context(), quiz, []springtide.Job{{}}, nil); err != nil {
		t.Error(err)
	}
	if claimed, err := l.Claim(t.Context(), jobs.Claim{Environment: quiz, Most: 1, Runner: "r"}); err != nil || len(claimed) != 1 {
		t.Error(claimed, err)
	}
}
