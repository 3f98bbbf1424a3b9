package build

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/springtide/springtide"
)

// files maps names to content; "-> x" is a link to x, "#!…" can be executed.
type files map[string]string

func (f files) write(t testing.TB, folder string) string {
	t.Helper()
	for name, content := range f {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(content, "-> "); link {
			err = os.Symlink(target, path)
		} else if strings.HasPrefix(content, "#!") {
			err = os.WriteFile(path, []byte(content), 0o755)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func sourceOf(t testing.TB, f files) string { return f.write(t, t.TempDir()) }

// read is the reverse of write: what is in a folder.
func read(t testing.TB, folder string) files {
	t.Helper()
	found := files{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		if entry.Type() == fs.ModeSymlink {
			target, err := os.Readlink(path)
			found[name] = "-> " + target
			return err
		}
		data, err := os.ReadFile(path)
		found[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func inGit(t testing.TB, folder string, arguments ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"}, arguments...)...)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", arguments, err, out)
	}
}

// newBuilder makes a Builder with a data folder of its own.
func newBuilder(t testing.TB) *Builder {
	t.Helper()
	return New(Options{Data: dataFolder(t), Grace: time.Nanosecond})
}

// dataFolder is one that the users of builds can pass through.
func dataFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "tide-data-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeTree(folder); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

func app(command string) springtide.App {
	return springtide.App{Name: "quiz", Build: springtide.Build{Command: command, Timeout: 10 * time.Minute}}
}

// mustBuild builds and checks that nothing unfinished is left.
func mustBuild(t testing.TB, b *Builder, app springtide.App, source string) Artifact {
	t.Helper()
	var output bytes.Buffer
	artifact, err := b.Build(t.Context(), Request{App: app, Source: source, Output: &output})
	if err != nil {
		t.Fatalf("%v\n%s", err, output.String())
	}
	return artifact
}

func failedBuild(ctx context.Context, t *testing.T, b *Builder, app springtide.App, source string) *springtide.Error {
	t.Helper()
	_, err := b.Build(ctx, Request{App: app, Source: source})
	failure, ok := errors.AsType[*springtide.Error](err)
	if !ok {
		t.Fatalf("the build ended with %v, want an error of the platform", err)
	}
	return failure
}

// checkClean checks that no unfinished work is left.
func checkClean(t testing.TB, b *Builder) {
	t.Helper()
	entries, err := os.ReadDir(b.builds)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, entry := range entries {
		t.Errorf("builds/%s is left", entry.Name())
	}
}

// checkLayout checks the layout as others would read it.
func checkLayout(t testing.TB, b *Builder) v1.IndexManifest {
	t.Helper()
	index, err := layout.ImageIndexFromPath(b.artifacts.folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Errorf("the layout is not valid: %v", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	return *manifest
}

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// lines is an output that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, string(b))
	return len(b), nil
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.text...)
}
