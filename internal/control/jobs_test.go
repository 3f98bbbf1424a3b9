package control

import (
	"context"
	"log/slog"
	"slices"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/jobs"
)

// forgetful is a ledger that remembers only what it was told to forget.
type forgetful struct {
	jobs.Settings
	forgotten []springtide.EnvironmentID
}

func (f *forgetful) ForgetEnvironment(_ context.Context, id springtide.EnvironmentID) error {
	f.forgotten = append(f.forgotten, id)
	return nil
}

func TestWhatIsGoneFromHereIsForgottenInALedgerOfOnesOwnOnly(t *testing.T) {
	for _, own := range []bool{true, false} {
		ledger := &forgetful{}
		d := &duties{own: own, ledger: ledger, fleet: deploy.NewFleet(nil, nil, func() {}, slog.New(slog.DiscardHandler))}
		known := map[springtide.EnvironmentID]said{quiz: {}}
		if !d.tell(t.Context(), known) || len(known) != 0 {
			t.Errorf("own %v: it still thinks of %v", own, known)
		}
		if err := d.forget(t.Context(), quiz); err != nil { // as when it is destroyed
			t.Error(err)
		}
		want := []springtide.EnvironmentID{quiz, quiz}
		if !own {
			want = nil
		}
		if !slices.Equal(ledger.forgotten, want) {
			t.Errorf("own %v: forgotten are %v", own, ledger.forgotten)
		}
	}
}
