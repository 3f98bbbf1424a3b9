package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/springtide/springtide"
)

// Each archive of testdata/folders holds an app's folder and the tide.yaml that
// is drafted for it.
func TestAManifestIsDraftedFromWhatAFolderHas(t *testing.T) {
	for name, dir := range folders(t) {
		t.Run(name, func(t *testing.T) {
			draft, err := Detect(dir)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "folders", name+".txtar")
			archive, err := txtar.ParseFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			want := &archive.Files[len(archive.Files)-1]
			if *update {
				want.Data = draft.YAML()
				if err := os.WriteFile(golden, txtar.Format(archive), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(want.Data), string(draft.YAML())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestADraftThatIsWrittenIsReadAsTheSameApp(t *testing.T) {
	for name, dir := range folders(t) {
		t.Run(name, func(t *testing.T) {
			draft, err := Detect(dir)
			if err != nil {
				t.Fatal(err)
			}
			direct, err := finish(draft.From, draft.document, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, FileName), draft.YAML(), 0o600); err != nil {
				t.Fatal(err)
			}
			app, notices, err := Load(dir, springtide.Production)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(direct.App(springtide.Production), app); diff != "" || len(notices) > 0 {
				t.Error(diff, notices)
			}
		})
	}
}

func TestAFolderWithoutAManifestRunsAsItsDraftSays(t *testing.T) {
	for name, dir := range folders(t) {
		foreign := strings.HasPrefix(name, "procfile") || strings.HasPrefix(name, "compose") || strings.HasPrefix(name, "app_json")
		m, err := Read(dir)
		if !foreign {
			if springtide.KindOf(err) != springtide.NotFound {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		draft, err := Detect(dir)
		if err != nil {
			t.Fatal(err)
		}
		if m.File != draft.From {
			t.Errorf("%s was read from %s", name, m.File)
		}
		if diff := cmp.Diff(draft.Notices, m.Notices); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAFolderThatShowsNothingIsExplained(t *testing.T) {
	dir := folder(t, map[string]string{"README.md": "# hello\n", "lib.go": "package lib\n"})
	_, err := Detect(dir)
	if springtide.KindOf(err) != springtide.NotFound || !strings.Contains(err.Error(), "add a Procfile") {
		t.Error(err)
	}
}

func TestAnAppJSONNeedsSomethingToRun(t *testing.T) {
	dir := folder(t, map[string]string{"app.json": `{"name": "quiz"}`})
	_, err := Read(dir)
	if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), "add a Procfile") {
		t.Error(err)
	}
}

func TestAFolderIsNamedAfterWhatIsLeftOfItsName(t *testing.T) {
	for from, want := range map[string]name{
		"quiz": "quiz", "My Quiz!": "my-quiz", "@acme/Quiz_2": "acme-quiz-2", "--": "", "": "", "déjà": "d-j",
		strings.Repeat("q", 60): name(strings.Repeat("q", 40)),
	} {
		if got := asName(from); got != want {
			t.Errorf("%q becomes %q, want %q", from, got, want)
		}
	}
}
