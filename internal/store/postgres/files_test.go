package postgres_test

import (
	"testing"

	"github.com/springtide/springtide"
)

func TestFilesAreKeptForAllAndADeposedLeaderKeepsNone(t *testing.T) {
	location := emptyDatabase(t)
	first, second := open(t, location), open(t, location)
	lead(t, first, "first")
	for _, content := range []string{"old", "new\x00"} {
		if err := first.KeepFile(t.Context(), "root-key", []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.KeepFile(t.Context(), "ca/ca.key", []byte("key")); err != nil {
		t.Fatal(err)
	}
	if err := first.ForgetFile(t.Context(), "ca/ca.key"); err != nil {
		t.Fatal(err)
	}
	lead(t, second, "second")
	if err := first.KeepFile(t.Context(), "root-key", []byte("late")); springtide.KindOf(err) != springtide.Unavailable {
		t.Errorf("a deposed leader keeps files: %v", err)
	}
	files, err := second.KeptFiles(t.Context())
	if err != nil || len(files) != 1 || string(files["root-key"]) != "new\x00" {
		t.Errorf("kept are %q, %v", files, err)
	}
}
