package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func TestOnlyWhatIsKeptStays(t *testing.T) {
	b := newBuilder(t)
	var made []Artifact
	for i := range 4 {
		made = append(made, mustBuild(t, b, app(""), sourceOf(t, files{"n": strconv.Itoa(i)})))
	}
	files{"quiz.7/source/half": "built", "unpack-1234.1/layer": "x"}.write(t, b.builds)
	files{".index.json.123": "{"}.write(t, b.artifacts.folder)
	files{"0123": "an orphan"}.write(t, b.artifacts.blobs())
	removed, bytes, err := b.Collect(t.Context(), []springtide.Digest{made[1].Digest, made[3].Digest})
	if err != nil || removed != 2 || bytes < made[0].Size+made[2].Size {
		t.Errorf("%d artifacts of %d bytes were removed: %v", removed, bytes, err)
	}
	if index := checkLayout(t, b); len(index.Manifests) != 2 {
		t.Errorf("there are %d artifacts, want 2", len(index.Manifests))
	}
	for i, artifact := range made {
		_, err := os.Lstat(artifact.Root)
		if kept := i%2 == 1; kept != (err == nil) {
			t.Errorf("artifact %d: %v", i, err)
		}
		_, err = b.Root(t.Context(), artifact.Digest)
		if want := []springtide.ErrorKind{springtide.NotFound, ""}[i%2]; springtide.KindOf(err) != want {
			t.Errorf("artifact %d: %v", i, err)
		}
	}
	blobs, err := os.ReadDir(b.artifacts.blobs())
	if err != nil || len(blobs) != 6 { // Each artifact has a manifest, a config and a layer.
		t.Errorf("there are %d blobs (%v), want 6", len(blobs), err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.artifacts.folder, ".index*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	checkClean(t, b)
	again := mustBuild(t, b, app(""), sourceOf(t, files{"n": "0"}))
	if again.Digest != made[0].Digest || again.Reused {
		t.Errorf("built again: %+v", again)
	}
}

func TestWhatWasJustBuiltIsNotCollected(t *testing.T) {
	b := New(Options{Data: dataFolder(t), Grace: time.Hour})
	fresh := mustBuild(t, b, app(""), sourceOf(t, files{"n": "1"}))
	if removed, _, err := b.Collect(t.Context(), nil); err != nil || removed != 0 {
		t.Errorf("%d removed, %v", removed, err)
	}
	digest, _ := parseDigest(fresh.Digest)
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(b.artifacts.blob(digest), old, old); err != nil {
		t.Fatal(err)
	}
	mustBuild(t, b, app(""), sourceOf(t, files{"n": "1"})) // Reused: wanted again.
	if removed, _, err := b.Collect(t.Context(), nil); err != nil || removed != 0 {
		t.Errorf("%d removed, %v", removed, err)
	}
	if err := os.Chtimes(b.artifacts.blob(digest), old, old); err != nil {
		t.Fatal(err)
	}
	if removed, _, err := b.Collect(t.Context(), nil); err != nil || removed != 1 {
		t.Errorf("%d removed, %v", removed, err)
	}
}

func TestNothingToCollectIsNoError(t *testing.T) {
	removed, bytes, err := newBuilder(t).Collect(t.Context(), nil)
	if removed != 0 || bytes != 0 || err != nil {
		t.Error(removed, bytes, err)
	}
}

func TestCollectingDoesNotDisturbBuilds(t *testing.T) {
	b := New(Options{Data: dataFolder(t), Grace: time.Hour})
	other := New(Options{Data: b.options.Data, Grace: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	var collector sync.WaitGroup
	collector.Go(func() {
		for ctx.Err() == nil {
			if _, _, err := other.Collect(context.WithoutCancel(ctx), nil); err != nil {
				t.Error(err)
			}
		}
	})
	var builders sync.WaitGroup
	for worker := range 4 {
		builders.Go(func() {
			for i := range 5 {
				source := sourceOf(t, files{"n": fmt.Sprint(worker, i)})
				artifact, err := b.Build(ctx, Request{App: app("cp n m; sleep 0.01; cat m > o"), Source: source})
				if err != nil {
					t.Error(err)
					continue
				}
				if got := read(t, artifact.Root)["o"]; got != fmt.Sprint(worker, i) {
					t.Errorf("built %q", got)
				}
			}
		})
	}
	builders.Wait()
	cancel()
	collector.Wait()
	if index := checkLayout(t, b); len(index.Manifests) != 20 {
		t.Errorf("there are %d artifacts, want 20", len(index.Manifests))
	}
	checkClean(t, b)
}

func TestWhatIsUnderWayIsNotCollected(t *testing.T) {
	b := newBuilder(t)
	gate := filepath.Join(t.TempDir(), "gate")
	var output lines
	ended := make(chan error, 1)
	go func() {
		_, err := b.Build(t.Context(), Request{App: app("echo waiting; until [ -e " + gate + " ]; do sleep 0.01; done; cp x z"), Source: sourceOf(t, files{"x": "y"}), Output: &output})
		ended <- err
	}()
	eventually(t, "the build", func() bool { return slices.Equal(output.all(), []string{"waiting\n"}) })
	if _, _, err := New(b.options).Collect(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
