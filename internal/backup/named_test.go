package backup

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func TestABackupIsTakenByItsNameWhereNoMomentCanBeGoneBackTo(t *testing.T) {
	w := newWorld(t, nil)
	w.plans[w.of] = springtide.Backup{Daily: "04:30"}
	w.back("r1")
	w.write(2)
	w.back("r2")
	all, err := w.List(t.Context(), w.of)
	if err != nil {
		t.Fatal(err)
	}
	rows, restored, err := w.restore(RestoreRequest{Backup: all[0].ID})
	if err != nil || rows != 3 || !restored.At.Equal(all[0].Finished) || restored.Backup != all[0].ID {
		t.Errorf("restored %d rows, %+v: %v", rows, restored, err)
	}
	w.expectRows(RestoreRequest{Backup: all[2].ID}, 5)
}

func TestABackupThatCannotBeRestoredByItsNameSaysWhy(t *testing.T) {
	w := newWorld(t, nil)
	w.back("r1")
	all, err := w.List(t.Context(), w.of)
	if err != nil {
		t.Fatal(err)
	}
	whole, dump := all[0], all[1]
	// One of another subject, one that was put in its place, one of a newer
	// version, and one that was damaged.
	other := whole
	other.Of, other.ID = "cache", newID(time.Now())
	if err := w.vault.record(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	put := func(name string, content []byte) {
		t.Helper()
		if err := w.target.Put(t.Context(), name, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	manifest := w.vault.manifestName(w.of, whole.ID)
	sealed, err := w.target.Get(t.Context(), manifest)
	if err != nil {
		t.Fatal(err)
	}
	defer sealed.Close()
	content, err := io.ReadAll(sealed)
	if err != nil {
		t.Fatal(err)
	}
	swapped, damagedOne, newer := newID(time.Now()), newID(time.Now()), newID(time.Now())
	put(w.vault.manifestName(w.of, swapped), content)
	content[len(content)-1] ^= 1
	put(w.vault.manifestName(w.of, damagedOne), content)
	future := whole
	future.ID, future.Format = newer, manifestFormat+1
	text, err := json.Marshal(future)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.vault.put(t.Context(), w.vault.manifestName(w.of, newer), func(to io.Writer) error {
		_, err := to.Write(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id   string
		kind springtide.ErrorKind
		says string
	}{
		{"none", springtide.Invalid, "is not the ID of a backup"},
		{"../../cache/manifests/" + other.ID, springtide.Invalid, "is not the ID of a backup"},
		{newID(time.Now()), springtide.NotFound, "there is no backup"},
		{other.ID, springtide.NotFound, "there is no backup"},
		{dump.ID, springtide.Invalid, "is a dump"},
		{swapped, springtide.Failed, "is not what was put there"},
		{damagedOne, springtide.Failed, "is not what was put there"},
		{newer, springtide.Failed, "this version reads up to"},
	} {
		_, _, err := w.restore(RestoreRequest{Backup: c.id})
		if springtide.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want kind %s and %q", c.id, err, c.kind, c.says)
		}
	}
	if _, err := w.RestoreFiles(t.Context(), w.of.Environment, whole.ID, time.Time{}); springtide.KindOf(err) != springtide.Unavailable {
		t.Errorf("files where there are none: %v", err)
	}
}

func TestNumbersOfChangesThatAreGoneAreNotGivenAgain(t *testing.T) {
	w := newWorld(t, nil)
	w.finish()
	w.Ship(t.Context())
	w.back("r1") // which needs nothing of what came before
	lineage, err := lineageOf(w.server)
	if err != nil {
		t.Fatal(err)
	}
	if segments, err := w.vault.segments(t.Context(), w.of, lineage); err != nil || len(segments) > 0 {
		t.Fatal(segments, err)
	}
	w.Keeper = New(w.options) // it was killed
	w.write(2)
	w.finish()
	w.Ship(t.Context())
	w.expectRows(RestoreRequest{}, 5)
}
