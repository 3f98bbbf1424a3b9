package control

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/jobs"
)

// forgetful is a ledger that remembers only what it was told to forget.
type forgetful struct {
	jobs.Settings
	forgotten []springtide.EnvironmentID
	refuse    bool
}

func (f *forgetful) ForgetEnvironment(_ context.Context, id springtide.EnvironmentID) error {
	if f.refuse {
		return springtide.Errorf(springtide.Unavailable, "the ledger is away")
	}
	f.forgotten = append(f.forgotten, id)
	return nil
}

func TestWhatTheLedgerDoesNotTakeIsSaidOnce(t *testing.T) {
	var log bytes.Buffer
	d := &duties{
		own: true, ledger: &forgetful{refuse: true}, logger: slog.New(slog.NewTextHandler(&log, nil)),
		fleet: deploy.NewFleet(nil, nil, func() {}, slog.New(slog.DiscardHandler)),
	}
	known := map[springtide.EnvironmentID]said{quiz: {}}
	for range 3 {
		if d.tell(t.Context(), known) {
			t.Error("it was not taken")
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 {
		t.Errorf("the log has %d lines:\n%s", lines, &log)
	}
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

// sends fails the test if it is asked to carry anything out.
type sends struct{ *testing.T }

func (s sends) Execute(context.Context, springtide.Run) jobs.Outcome {
	s.Error("what is somebody else's was carried out")
	return jobs.Outcome{}
}

func (sends) Validate(json.RawMessage) error { return nil }

func TestARunOfAnotherPlatformIsLeftToIt(t *testing.T) {
	fleet := deploy.NewFleet(nil, nil, func() {}, slog.New(slog.DiscardHandler)) // it has no environment
	outcome := here{fleet, sends{t}}.Execute(t.Context(), springtide.Run{Environment: quiz, Kind: springtide.RunMail})
	if outcome.Verdict != jobs.Returned || outcome.RetryAfter <= 0 {
		t.Errorf("it is not given back for later: %+v", outcome)
	}
}
