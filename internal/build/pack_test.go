package build

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

// packed packs a folder, unpacks the result, and gives what came out.
func packed(t *testing.T, folder string) (files, Summary) {
	t.Helper()
	var archive bytes.Buffer
	summary, err := Pack(t.Context(), folder, &archive)
	if err != nil {
		t.Fatal(err)
	}
	target := t.TempDir()
	if err := Unpack(t.Context(), &archive, target); err != nil {
		t.Fatal(err)
	}
	return read(t, target), summary
}

func TestTheSourceIsWhatGitTracksOrDoesNotIgnore(t *testing.T) {
	folder := sourceOf(t, files{
		".gitignore": "*.log\n/dist/\n", "main.go": "package main", "run": "#!/bin/sh", "link": "-> main.go",
		"gone.txt": "x", "debug.log": "x", "forced.log": "kept",
	})
	inGit(t, folder, "init", "-q")
	inGit(t, folder, "add", ".")
	inGit(t, folder, "add", "-f", "forced.log")
	inGit(t, folder, "commit", "-qm", "Begin with \"this\"")
	os.Remove(filepath.Join(folder, "gone.txt"))
	files{"new.txt": "not added", "dist/out": "x", "sub/deep/ünï\ncode": "y"}.write(t, folder)
	got, summary := packed(t, folder)
	want := files{
		".gitignore": "*.log\n/dist/\n", "main.go": "package main", "run": "#!/bin/sh", "link": "-> main.go",
		"forced.log": "kept", "new.txt": "not added", "sub/deep/ünï\ncode": "y",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if summary.Commit == "" || summary.Subject != `Begin with "this"` || !summary.Dirty || summary.Files != len(want) {
		t.Errorf("summary: %+v", summary)
	}
	if want := summary.Commit + ` Begin with "this" (modified)`; summary.String() != want {
		t.Errorf("the source is described as %q, want %q", summary, want)
	}
}

func TestTheSourceOfAFolderInARepositoryIsThatFolder(t *testing.T) {
	folder := sourceOf(t, files{".gitignore": "*.log", "other/x": "x", "app/main": "m", "app/a.log": "l", "app/.gitignore": "/tmp"})
	inGit(t, folder, "init", "-q")
	inGit(t, folder, "add", ".")
	inGit(t, folder, "commit", "-qm", "x")
	files{"other/y": "dirty elsewhere", "app/tmp/z": "z"}.write(t, folder)
	got, summary := packed(t, filepath.Join(folder, "app"))
	if diff := cmp.Diff(files{"main": "m", ".gitignore": "/tmp"}, got); diff != "" {
		t.Error(diff)
	}
	if summary.Dirty {
		t.Error("a change elsewhere in the repository makes the folder dirty")
	}
}

func TestSubmodulesAndRepositoriesWithinArePartOfTheSource(t *testing.T) {
	library := sourceOf(t, files{"lib.c": "int x;", ".gitignore": "*.o"})
	inGit(t, library, "init", "-q")
	inGit(t, library, "add", ".")
	inGit(t, library, "commit", "-qm", "x")
	folder := sourceOf(t, files{"main": "m"})
	inGit(t, folder, "init", "-q")
	inGit(t, folder, "submodule", "--quiet", "add", library, "vendor/lib")
	inGit(t, folder, "submodule", "--quiet", "add", library, "absent")
	inGit(t, folder, "add", ".")
	inGit(t, folder, "commit", "-qm", "x")
	inGit(t, folder, "submodule", "--quiet", "deinit", "-f", "absent")
	inGit(t, folder, "clone", "-q", library, "cloned")
	files{"vendor/lib/lib.o": "o", "cloned/lib.o": "o", "cloned/new.c": "new"}.write(t, folder)
	got, _ := packed(t, folder)
	delete(got, ".gitmodules")
	want := files{
		"main": "m", "vendor/lib/lib.c": "int x;", "vendor/lib/.gitignore": "*.o",
		"cloned/lib.c": "int x;", "cloned/.gitignore": "*.o", "cloned/new.c": "new",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTideignoreLeavesOutWhatGitTracks(t *testing.T) {
	folder := sourceOf(t, files{".tideignore": "/docs/\n*.psd\n", "docs/a": "a", "main": "m", "art.psd": "p", "in/docs/b": "b"})
	inGit(t, folder, "init", "-q")
	inGit(t, folder, "add", "docs", "main", ".tideignore")
	inGit(t, folder, "commit", "-qm", "x")
	want := files{".tideignore": "/docs/\n*.psd\n", "main": "m", "in/docs/b": "b"}
	got, _ := packed(t, folder)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	removeTree(filepath.Join(folder, ".git"))
	got, _ = packed(t, folder)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("without a repository: %s", diff)
	}
}

func TestAFolderWithoutARepositoryIsItsOwnSource(t *testing.T) {
	content := files{
		".gitignore": "*.log\n", "main.py": "m", "a.log": "l", "node_modules/x/y": "y", "pkg/__pycache__/z": "z",
		".venv/bin/python": "-> /usr/bin/python3", ".env": "A=1",
	}
	folder := sourceOf(t, content)
	got, summary := packed(t, folder)
	if diff := cmp.Diff(files{".gitignore": "*.log\n", "main.py": "m", ".env": "A=1"}, got); diff != "" {
		t.Error(diff)
	}
	if summary.Commit != "" || !strings.Contains(summary.How, "git does not track") {
		t.Errorf("summary: %+v", summary)
	}
	t.Run("where there is no git", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		got, summary := packed(t, folder)
		if diff := cmp.Diff(files{".gitignore": "*.log\n", "main.py": "m", ".env": "A=1", "a.log": "l"}, got); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(summary.How, "no git") {
			t.Errorf("summary: %+v", summary)
		}
	})
}

func TestAFolderThatItsRepositoryIgnoresIsItsOwnSource(t *testing.T) {
	folder := sourceOf(t, files{".gitignore": "/try/", "try/main": "m"})
	inGit(t, folder, "init", "-q")
	inGit(t, folder, "add", ".")
	inGit(t, folder, "commit", "-qm", "x")
	got, summary := packed(t, filepath.Join(folder, "try"))
	if diff := cmp.Diff(files{"main": "m"}, got); diff != "" || summary.Commit != "" {
		t.Error(diff, summary)
	}
}

func TestVariablesOfAGitHookDoNotLeadElsewhere(t *testing.T) {
	elsewhere := sourceOf(t, files{"wrong": "x"})
	inGit(t, elsewhere, "init", "-q")
	folder := sourceOf(t, files{"right": "x"})
	inGit(t, folder, "init", "-q")
	t.Setenv("GIT_DIR", filepath.Join(elsewhere, ".git"))
	t.Setenv("GIT_WORK_TREE", elsewhere)
	got, _ := packed(t, folder)
	if diff := cmp.Diff(files{"right": "x"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheSameSourceIsPackedToTheSameBytes(t *testing.T) {
	content := files{"b/x": "1", "a": "#!x", "b.txt": "2", "l": "-> b/x"}
	var first, second bytes.Buffer
	folder := sourceOf(t, content)
	if _, err := Pack(t.Context(), folder, &first); err != nil {
		t.Fatal(err)
	}
	other := sourceOf(t, content)
	if err := os.Chtimes(filepath.Join(other, "a"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(other, "b.txt"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Pack(t.Context(), other, &second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same files gave different bytes")
	}
}

func TestALinkOutOfTheSourceIsRefused(t *testing.T) {
	for name, content := range map[string]files{
		"absolute":            {"a": "-> /etc/passwd"},
		"relative":            {"d/a": "-> ../../x"},
		"through another one": {"deep/er/up": "-> ../..", "a": "-> deep/er/up/.."},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Pack(t.Context(), sourceOf(t, content), io.Discard)
			if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), "points out of the source") {
				t.Errorf("got %v", err)
			}
		})
	}
	harmless := files{"d/a": "-> ../b", "b": "-> nowhere", "c": "-> c", "e": "-> d/../d/a", "root": "-> ."}
	got, _ := packed(t, sourceOf(t, harmless))
	if diff := cmp.Diff(harmless, got); diff != "" {
		t.Error(diff)
	}
}

func TestAFolderThatIsNotThereIsToldSo(t *testing.T) {
	_, err := Pack(t.Context(), filepath.Join(t.TempDir(), "absent"), io.Discard)
	if springtide.KindOf(err) != springtide.NotFound {
		t.Errorf("got %v", err)
	}
}
