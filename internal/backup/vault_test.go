package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"github.com/springtide/springtide"
)

// lyingTarget says that it has what it has not.
type lyingTarget struct {
	Target

	mu sync.Mutex
	// lose has it acknowledge and keep nothing, spoil has it give other bytes, cut
	// fewer; away has it fail.
	lose, spoil, cut, away bool
}

func (l *lyingTarget) set(change func(*lyingTarget)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *lyingTarget) is(what func(*lyingTarget) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return what(l)
}

func (l *lyingTarget) gone() error {
	if l.is(func(l *lyingTarget) bool { return l.away }) {
		return springtide.Errorf(springtide.Unavailable, "the target is away")
	}
	return nil
}

func (l *lyingTarget) Put(ctx context.Context, name string, from io.Reader) error {
	if err := l.gone(); err != nil {
		return err
	}
	if l.is(func(l *lyingTarget) bool { return l.lose }) {
		_, err := io.Copy(io.Discard, from)
		return err
	}
	return l.Target.Put(ctx, name, from)
}

func (l *lyingTarget) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := l.gone(); err != nil {
		return nil, err
	}
	from, err := l.Target.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	data, err := io.ReadAll(from)
	if l.is(func(l *lyingTarget) bool { return l.spoil }) {
		data[len(data)-1] ^= 1
	}
	if l.is(func(l *lyingTarget) bool { return l.cut }) {
		data = data[:len(data)-1]
	}
	return io.NopCloser(bytes.NewReader(data)), err
}

func (l *lyingTarget) List(ctx context.Context, prefix string) ([]Object, error) {
	if err := l.gone(); err != nil {
		return nil, err
	}
	return l.Target.List(ctx, prefix)
}

func text(content string) func(io.Writer) error {
	return func(to io.Writer) error {
		_, err := io.WriteString(to, content)
		return err
	}
}

func TestATargetThatLiesIsFoundOutAtOnce(t *testing.T) {
	for what, lie := range map[string]func(*lyingTarget){
		"the target has lost":  func(l *lyingTarget) { l.lose = true },
		"other bytes":          func(l *lyingTarget) { l.spoil = true },
		"back as":              func(l *lyingTarget) { l.cut = true },
		"the target is away":   func(l *lyingTarget) { l.away = true },
		"has not read all":     func(l *lyingTarget) { l.Target = hastyTarget{l.Target} },
		"the source is broken": nil,
	} {
		liar := &lyingTarget{}
		w := newWorld(t, func(o *Options) { liar.Target = o.Target; o.Target = liar })
		produce := text(strings.Repeat("content", 1<<16))
		if lie == nil {
			produce = func(io.Writer) error { return errors.New("the source is broken") }
		} else {
			lie(liar)
		}
		if _, err := w.vault.put(t.Context(), "a/b", produce); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("put: %v, want %q", err, what)
		}
		liar.set(func(l *lyingTarget) { l.away = false })
		if left := names(t, liar, ""); len(left) > 0 {
			t.Errorf("%s: left %q", what, left)
		}
	}
}

// hastyTarget says that it has all before it has read all.
type hastyTarget struct{ Target }

func (h hastyTarget) Put(_ context.Context, _ string, from io.Reader) error {
	_, err := from.Read(make([]byte, 1))
	return err
}

func TestWhatATargetSpoilsLaterIsFoundWhenItIsRead(t *testing.T) {
	liar := &lyingTarget{}
	w := newWorld(t, func(o *Options) { liar.Target = o.Target; o.Target = liar })
	w.back("r1")
	for range 3 {
		w.write(1)
		w.finish()
		w.Ship(t.Context())
	}
	if checked, err := w.Verify(t.Context(), w.of); err != nil || len(checked.Problems) > 0 || checked.Backups != 2 || checked.Changes != 3 {
		t.Errorf("verified %+v, %v", checked, err)
	}
	segments := names(t, w.target, w.vault.folder(w.of)+"/changes/")
	if err := w.target.Delete(t.Context(), segments[1]); err != nil {
		t.Fatal(err)
	}
	if checked, err := w.Verify(t.Context(), w.of); err != nil || len(checked.Problems) != 1 || !strings.Contains(checked.Problems[0], "number 2 to 2") {
		t.Errorf("verified %+v, %v", checked, err)
	}
	if _, _, err := w.restore(RestoreRequest{}); springtide.KindOf(err) != springtide.Failed || !strings.Contains(err.Error(), "lost change 2") {
		t.Errorf("restored: %v", err)
	}
	all, err := w.List(t.Context(), w.of)
	if err != nil {
		t.Fatal(err)
	}
	whole := all[0].Objects[0].Name
	content := []byte(get(t, w.target, whole))
	content[len(content)/2] ^= 1
	put(t, w.target, whole, string(content))
	if checked, err := w.Verify(t.Context(), w.of); err != nil || len(checked.Problems) != 2 {
		t.Errorf("verified %+v, %v", checked, err)
	}
	if _, _, err := w.restore(RestoreRequest{Backup: all[0].ID, To: all[0].Finished}); springtide.KindOf(err) != springtide.Failed {
		t.Errorf("restored: %v", err)
	}
	if len(w.services.servers) != 1 {
		t.Errorf("there is %v", w.services.servers)
	}
}

func TestNothingCanBeTakenForSomethingElse(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.vault.put(t.Context(), "a", text("one")); err != nil {
		t.Fatal(err)
	}
	put(t, w.target, "b", get(t, w.target, "a"))
	if err := w.vault.copyOut(t.Context(), "b", io.Discard); springtide.KindOf(err) != springtide.Failed || !strings.Contains(err.Error(), "under another name") {
		t.Errorf("read: %v", err)
	}
}

func TestABackupOfAnotherAppIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.back("r1")
	all, err := w.List(t.Context(), w.of)
	if err != nil {
		t.Fatal(err)
	}
	other := Subject{springtide.EnvironmentID{App: "shop", Name: "production"}, "db"}
	put(t, w.target, w.vault.manifestName(other, all[0].ID), get(t, w.target, w.vault.manifestName(w.of, all[0].ID)))
	if stolen, err := w.List(t.Context(), other); err != nil || len(stolen) > 0 {
		t.Errorf("listed %+v, %v", stolen, err)
	}
	stolen := all[0] // sealed by who has the key, yet with another's content
	if _, err := w.vault.put(t.Context(), w.vault.manifestName(other, stolen.ID), func(to io.Writer) error {
		_, err := io.WriteString(to, `{"format":1,"id":"`+stolen.ID+`","environment":{"app":"quiz","environment":"production"},"of":"db"}`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.vault.manifest(t.Context(), other, stolen.ID); springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("read: %v", err)
	}
	if subjects, err := w.Subjects(t.Context()); err != nil || !slices.Contains(subjects, w.of) {
		t.Errorf("there are backups of %v, %v", subjects, err)
	}
}

func TestAWrongKeyIsOneClearError(t *testing.T) {
	w := newWorld(t, nil)
	w.back("r1")
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	options := w.options
	options.Identities = []age.Identity{identity}
	_, err = New(options).Restore(t.Context(), RestoreRequest{From: fakeID})
	if springtide.KindOf(err) != springtide.Denied || !strings.Contains(err.Error(), "recovery key") {
		t.Errorf("restored: %v", err)
	}
	options.Identities = append(options.Identities, w.identity)
	if all, err := New(options).List(t.Context(), w.of); err != nil || len(all) != 2 {
		t.Errorf("listed %+v, %v", all, err)
	}
}

func TestALargeBackupTakesLittleMemory(t *testing.T) {
	w := newWorld(t, nil)
	block := make([]byte, 1<<20)
	_, _ = rand.Read(block)
	most := uint64(0)
	entry, err := w.vault.put(t.Context(), "large", func(to io.Writer) error {
		for i := range 192 {
			if _, err := to.Write(block); err != nil {
				return err
			}
			if i%16 == 0 {
				runtime.GC()
				var stats runtime.MemStats
				runtime.ReadMemStats(&stats)
				most = max(most, stats.HeapAlloc)
			}
		}
		return nil
	})
	if err != nil || entry.Plain != 192<<20 {
		t.Fatalf("put %+v: %v", entry, err)
	}
	if most > 64<<20 {
		t.Errorf("%d MiB were in memory", most>>20)
	}
}

func FuzzManifests(f *testing.F) {
	of := SubjectOf(fakeID)
	f.Add([]byte(`{"format":1,"id":"x","environment":{"app":"quiz","environment":"production"},"of":"db","objects":[{"name":"a/b","size":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeManifest(data, of, "x")
		if err == nil && (m.Subject != of || m.ID != "x") {
			t.Errorf("%q is %+v", data, m)
		}
		for _, entry := range m.Objects {
			if err == nil && checkName(entry.Name) != nil {
				t.Errorf("%q names %q", data, entry.Name)
			}
		}
	})
}

func FuzzSegmentNames(f *testing.F) {
	f.Add("000000000012-1795000000-000000010000000000000002")
	f.Fuzz(func(t *testing.T, name string) {
		s, ok := parseSegment(name)
		if !ok {
			return
		}
		if again, ok := parseSegment(s.String()); !ok || again.number != s.number || again.name != s.name || !again.finished.Equal(s.finished) {
			t.Errorf("%q is %v, and that is %v", name, s, again)
		}
	})
}

func FuzzSealed(f *testing.F) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	var sealed bytes.Buffer
	to, _ := seal(&sealed, "a", []age.Recipient{identity.Recipient()})
	_, _ = to.Write([]byte("content"))
	to.Close()
	f.Add(sealed.Bytes())
	f.Add([]byte("age-encryption.org/v1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		from, err := unseal(bytes.NewReader(data), "a", []age.Identity{identity})
		if err != nil {
			return
		}
		defer from.Close()
		if plain, err := io.ReadAll(from); err == nil && string(plain) != "content" {
			t.Errorf("%q was never sealed", plain)
		}
	})
}
