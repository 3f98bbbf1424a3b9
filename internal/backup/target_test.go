package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/springtide/springtide"
)

// targets are those that every test of a target is done with.
var targets = map[string]func(t *testing.T) Target{
	"folder": func(t *testing.T) Target { return openTarget(t, "file://"+t.TempDir(), TargetOptions{}) },
	"SFTP":   func(t *testing.T) Target { return startSSH(t).target(t) },
	"S3":     func(t *testing.T) Target { return startS3(t).target(t) },
	"our own S3": func(t *testing.T) Target {
		url, access := startGateway(t)
		return openTarget(t, url, access)
	},
}

func openTarget(t *testing.T, url string, options TargetOptions) Target {
	t.Helper()
	if options.Records == "" {
		options.Records = t.TempDir()
	}
	target, err := OpenTarget(url, options)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func forEachTarget(t *testing.T, test func(t *testing.T, target Target)) {
	for name, open := range targets {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func put(t *testing.T, target Target, name, content string) {
	t.Helper()
	if err := target.Put(t.Context(), name, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, target Target, name string) string {
	t.Helper()
	from, err := target.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	data, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func names(t *testing.T, target Target, prefix string) []string {
	t.Helper()
	objects, err := target.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	found := []string{}
	for _, object := range objects {
		found = append(found, object.Name)
	}
	return found
}

func TestATargetGivesBackWhatWasPutThere(t *testing.T) {
	forEachTarget(t, func(t *testing.T, target Target) {
		put(t, target, "a/one", "first")
		put(t, target, "a/one", "second")
		put(t, target, "a/b/two", "")
		put(t, target, "ab", "beside")
		if got := get(t, target, "a/one"); got != "second" {
			t.Errorf("got %q", got)
		}
		if got := get(t, target, "a/b/two"); got != "" {
			t.Errorf("got %q of what is empty", got)
		}
		if got := names(t, target, "a/"); !slices.Equal(got, []string{"a/b/two", "a/one"}) {
			t.Errorf("listed %q", got)
		}
		if got := names(t, target, ""); !slices.Equal(got, []string{"a/b/two", "a/one", "ab"}) {
			t.Errorf("listed %q", got)
		}
		objects, err := target.List(t.Context(), "a/")
		if err != nil || objects[1].Size != 6 || time.Since(objects[1].Modified).Abs() > time.Minute {
			t.Errorf("listed %+v, %v", objects, err)
		}
		for range 2 {
			if err := target.Delete(t.Context(), "a/one"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := target.Get(t.Context(), "a/one"); springtide.KindOf(err) != springtide.NotFound {
			t.Errorf("what was deleted: %v", err)
		}
		if got := names(t, target, "none/"); len(got) != 0 {
			t.Errorf("listed %q", got)
		}
	})
}

func TestAnObjectIsPutWholeOrNotAtAll(t *testing.T) {
	forEachTarget(t, func(t *testing.T, target Target) {
		for _, size := range []int{0, 10, bucketPart/4 + 1} {
			broken := io.MultiReader(io.LimitReader(rand.Reader, int64(size)), iotest.ErrReader(errors.New("the source broke")))
			if err := target.Put(t.Context(), "a/one", broken); err == nil || !strings.Contains(err.Error(), "the source broke") {
				t.Errorf("after %d bytes: %v", size, err)
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		endless := readerFunc(func(p []byte) (int, error) {
			cancel(errors.New("it took too long"))
			return len(p), nil
		})
		if err := target.Put(ctx, "a/one", endless); err == nil {
			t.Error("what never ended was put")
		}
		if got := names(t, target, ""); len(got) != 0 {
			t.Errorf("there is %q", got)
		}
		put(t, target, "a/one", "whole")
		if got := get(t, target, "a/one"); got != "whole" {
			t.Errorf("got %q", got)
		}
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestALargeObjectIsStreamed(t *testing.T) {
	forEachTarget(t, func(t *testing.T, target Target) {
		content := make([]byte, bucketPart/4+12345)
		_, _ = rand.Read(content)
		if err := target.Put(t.Context(), "large", bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if got := get(t, target, "large"); got != string(content) {
			t.Errorf("%d bytes are not what was put", len(got))
		}
	})
}

func TestManyMayUseATargetAtATime(t *testing.T) {
	forEachTarget(t, func(t *testing.T, target Target) {
		done := make(chan error)
		for i := range 8 {
			go func() {
				name := fmt.Sprintf("a/%d", i%4)
				err := target.Put(t.Context(), name, strings.NewReader(strings.Repeat(name, 1000)))
				if err == nil {
					_, err = target.List(t.Context(), "a/")
				}
				done <- err
			}()
		}
		for range 8 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		for i := range 4 {
			if name := fmt.Sprintf("a/%d", i); get(t, target, name) != strings.Repeat(name, 1000) {
				t.Errorf("%s is not whole", name)
			}
		}
	})
}

func TestNamesCannotLeaveTheTarget(t *testing.T) {
	forEachTarget(t, func(t *testing.T, target Target) {
		for _, name := range []string{"", "../a", "/a", "a//b", "a/../../b", ".hidden", "a/.b", "a\x00b", "a\\b", "a/"} {
			if err := target.Put(t.Context(), name, strings.NewReader("x")); springtide.KindOf(err) != springtide.Invalid {
				t.Errorf("put %q: %v", name, err)
			}
			if _, err := target.Get(t.Context(), name); springtide.KindOf(err) != springtide.Invalid {
				t.Errorf("get %q: %v", name, err)
			}
			if err := target.Delete(t.Context(), name); springtide.KindOf(err) != springtide.Invalid {
				t.Errorf("delete %q: %v", name, err)
			}
		}
	})
}

func TestWhatIsNoTargetIsRefused(t *testing.T) {
	for _, url := range []string{
		"", "/backups", "file://", "file:///", "file://host/backups", "sftp://host/folder", "sftp://me@host", "sftp://me:password@host/folder",
		"s3://", "s3:///prefix", "s3://bucket?endpoint=nowhere", "s3://bucket/.hidden", "ftp://me@host/folder", "%",
	} {
		if _, err := OpenTarget(url, TargetOptions{}); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func FuzzTargetURLs(f *testing.F) {
	for _, url := range []string{"file:///backups", "sftp://me@host:2222/folder", "s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=eu"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		p, err := parseTarget(url)
		if err != nil && springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("%q: %v", url, err)
		}
		if err == nil && p.scheme != "s3" && (!strings.HasPrefix(p.folder, "/") || p.folder == "/") {
			t.Errorf("%q is folder %q", url, p.folder)
		}
		if err == nil && p.scheme == "s3" && (p.bucket == "" || p.endpoint == nil) {
			t.Errorf("%q is bucket %q at %v", url, p.bucket, p.endpoint)
		}
	})
}
