package backup

import (
	"errors"
	"testing"

	"github.com/springtide/springtide/internal/jobs"
)

func TestAFailureIsToldUntilABackupSucceeds(t *testing.T) {
	w := newWorld(t, nil)
	w.driver.dump = func() error { return errors.New("a table is broken") }
	if outcome := w.Execute(t.Context(), w.run("r1")); outcome.Verdict != jobs.Failed {
		t.Fatalf("%+v", outcome)
	}
	w.Keeper = New(w.options) // it is known after a restart too
	w.Watch(t.Context())
	status := w.Statuses()[0]
	if status.Failure.Time.IsZero() || status.Failure.Reason != "the whole copy was made, but not the dump: a table is broken" || status.Unproven {
		t.Errorf("%+v", status)
	}
	w.driver.dump = nil
	w.back("r1")
	if status := w.Statuses()[0]; status.Failure != (Failure{}) || status.Size == 0 || status.Last.IsZero() {
		t.Errorf("%+v", status)
	}
}
