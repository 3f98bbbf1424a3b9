package cert_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/cert"
)

func openTicketKeys(t *testing.T, path string) *cert.TicketKeys {
	t.Helper()
	keys, err := cert.OpenTicketKeys(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestTicketKeysRotateAndTheLastThreeAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tickets.json")
	keys := openTicketKeys(t, path)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	first := keys.Current(now)
	if len(first) != 1 || first[0] == [32]byte{} {
		t.Fatalf("got %d keys", len(first))
	}
	if same := keys.Current(now.Add(12*time.Hour - 1)); !slices.Equal(same, first) {
		t.Error("rotated too early")
	}
	second := keys.Current(now.Add(12 * time.Hour))
	if len(second) != 2 || second[1] != first[0] || second[0] == first[0] {
		t.Error("after 12 hours there must be a new key before the old one")
	}
	third := keys.Current(now.Add(24 * time.Hour))
	fourth := keys.Current(now.Add(36 * time.Hour))
	if len(third) != 3 || len(fourth) != 3 || !slices.Equal(fourth[1:], third[:2]) {
		t.Errorf("kept %d, then %d", len(third), len(fourth))
	}
	if reopened := openTicketKeys(t, path).Current(now.Add(40 * time.Hour)); !slices.Equal(reopened, fourth) {
		t.Error("reopened, they are others")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %s (%v)", info.Mode(), err)
	}
}

func TestOldTicketKeysAreNotAcceptedAfterALongPause(t *testing.T) {
	keys := openTicketKeys(t, filepath.Join(t.TempDir(), "tickets.json"))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	old := keys.Current(now)
	if got := keys.Current(now.Add(72 * time.Hour)); len(got) != 1 || got[0] == old[0] {
		t.Errorf("got %d keys", len(got))
	}
}

func TestAClockThatWasAheadDoesNotStopTheRotation(t *testing.T) {
	keys := openTicketKeys(t, filepath.Join(t.TempDir(), "tickets.json"))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ahead := keys.Current(now.AddDate(20, 0, 0))
	back := keys.Current(now)
	if len(back) != 2 || back[0] == ahead[0] || back[1] != ahead[0] {
		t.Errorf("got %d keys", len(back))
	}
	if later := keys.Current(now.Add(12 * time.Hour)); later[0] == back[0] {
		t.Error("not rotated")
	}
}

func TestADamagedFileOfTicketKeysIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tickets.json")
	for _, damage := range []string{"", "null", `[{"key":"AAAA"}]`, "{}"} {
		if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		got := openTicketKeys(t, path).Current(time.Now())
		if len(got) != 1 || !slices.Equal(got, openTicketKeys(t, path).Current(time.Now())) {
			t.Errorf("after %q: %d keys", damage, len(got))
		}
	}
}

func TestTicketKeysThatCannotBeKeptWorkAllTheSame(t *testing.T) {
	var log bytes.Buffer
	keys, err := cert.OpenTicketKeys(filepath.Join(t.TempDir(), "missing", "tickets.json"), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if first := keys.Current(now); len(first) != 1 || !slices.Equal(first, keys.Current(now)) {
		t.Errorf("got %d keys", len(first))
	}
	if strings.Count(log.String(), "cannot be kept") != 1 {
		t.Errorf("the log says %q", log.String())
	}
}
