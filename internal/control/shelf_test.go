package control

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

// cupboard keeps files in memory.
type cupboard map[string][]byte

func (c cupboard) KeptFiles(context.Context) (map[string][]byte, error) { return maps.Clone(c), nil }

func (c cupboard) KeepFile(_ context.Context, name string, content []byte) error {
	c[name] = content
	return nil
}

func (c cupboard) ForgetFile(_ context.Context, name string) error {
	delete(c, name)
	return nil
}

const sharedText = "a key that nobody guesses, as long as it has to be"

func shelfOf(t *testing.T, kept keptFiles, key string) *shelf {
	t.Helper()
	s, err := newShelf(kept, t.TempDir(), key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shelf) put(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(s.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *shelf) want(t *testing.T, name, text string) {
	t.Helper()
	if got, err := os.ReadFile(filepath.Join(s.folder, name)); string(got) != text {
		t.Errorf("%s has %q, %v, want %q", name, got, err, text)
	}
}

func do(t *testing.T, steps ...func(context.Context) error) {
	t.Helper()
	for _, step := range steps {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatOneControlPlaneMadeTheNextOneHas(t *testing.T) {
	kept := cupboard{}
	first, second := shelfOf(t, kept, sharedText), shelfOf(t, kept, sharedText)
	do(t, first.bring) // there is nothing
	first.put(t, "root-key", "one")
	first.put(t, "certificates/example.com.json", "a certificate")
	first.put(t, "certificates/.example.com.json.123", "half of one")
	first.put(t, "tide.db", "not for others")
	do(t, first.keep)
	if len(kept) != 2 || strings.Contains(string(kept["root-key"]), "one") {
		t.Fatalf("kept: %q", kept)
	}
	second.put(t, "ca/ca.key", "made while there was nothing to share")
	do(t, second.bring)
	second.want(t, "root-key", "one")
	second.want(t, "certificates/example.com.json", "a certificate")
	second.want(t, "ca/ca.key", "")

	second.put(t, "root-key", "two")
	if err := os.Remove(filepath.Join(second.folder, "certificates/example.com.json")); err != nil {
		t.Fatal(err)
	}
	do(t, second.keep, first.bring)
	first.want(t, "root-key", "two")
	first.want(t, "certificates/example.com.json", "")
}

func TestWhoHasAnotherSharedKeyIsToldSo(t *testing.T) {
	kept := cupboard{}
	first, other := shelfOf(t, kept, sharedText), shelfOf(t, kept, "another key that nobody guesses")
	first.put(t, "root-key", "one")
	do(t, first.keep)
	if err := other.bring(t.Context()); springtide.KindOf(err) != springtide.Failed {
		t.Error(err)
	}
	other.want(t, "root-key", "")
}
