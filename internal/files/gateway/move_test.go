package gateway

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
)

// moving is a shared folder that is copied to another platform's S3.
type moving struct {
	world
	t      *testing.T
	source *files.Folder
	direct string // the path of the folder
	bucket files.Bucket
}

func newMoving(t *testing.T) moving {
	t.Helper()
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	from := newWorld(t, t.TempDir(), oneFolder)
	source, err := from.store.Open(files.FolderID{Environment: shop, Name: "uploads"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	return moving{w, t, source, from.tree(shop), files.Bucket{
		Bucket:      springtide.Bucket{Endpoint: "http://" + w.address, Region: springtide.S3Region, Name: "uploads", Prefix: "moved/"},
		Credentials: files.NewCredentials(key, shop),
	}}
}

func (m moving) write(name, content string) {
	m.t.Helper()
	path := filepath.Join(m.direct, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m moving) copy(o files.CopyOptions) files.Copied {
	m.t.Helper()
	done, err := m.source.CopyTo(m.t.Context(), m.bucket, o)
	if err != nil {
		m.t.Fatal(err)
	}
	return done
}

func TestAFolderIsCopiedToABucketAndCaughtUpWith(t *testing.T) {
	m := newMoving(t)
	core := m.core(t, shop)
	for i := range 30 {
		m.write(fmt.Sprintf("%02d/cat.png", i), "meow")
	}
	m.write("a-b", "before a/")
	m.write("empty", "")
	m.write("ünï cödé+&", "x")
	if done := m.copy(files.CopyOptions{}); done.Copied != 33 || done.Bytes != 30*4+10 || done.Next != "" {
		t.Errorf("at first: %+v", done)
	}
	if done := m.copy(files.CopyOptions{}); done.Copied != 0 || done.Same != 33 {
		t.Errorf("when nothing changed: %+v", done)
	}
	info, err := core.Client.StatObject(t.Context(), "uploads", "moved/00/cat.png", minio.StatObjectOptions{})
	if err != nil || info.ContentType != "image/png" {
		t.Errorf("got %+v, %v", info, err)
	}
	// What changes keeps its length, and what is old by its time is another too.
	m.write("00/cat.png", "wuff")
	m.write("01/cat.png", "moo!")
	if err := os.Chtimes(filepath.Join(m.direct, "01/cat.png"), time.Time{}, time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	m.write("new", "x")
	if done := m.copy(files.CopyOptions{}); done.Copied != 3 || done.Same != 31 {
		t.Errorf("when it changed: %+v", done)
	}
	if text := get(t, core, "moved/00/cat.png", minio.GetObjectOptions{}) + get(t, core, "moved/01/cat.png", minio.GetObjectOptions{}); text != "wuffmoo!" {
		t.Errorf("got %q", text)
	}
}

func TestWhatTheAppPutIntoTheBucketItselfStays(t *testing.T) {
	m := newMoving(t)
	core := m.core(t, shop)
	m.write("a", "of the folder")
	m.write("b", "of the folder")
	m.copy(files.CopyOptions{})
	put(t, core, "moved/a", "of the bucket")
	put(t, core, "moved/b", "longer, of the bucket")
	if done := m.copy(files.CopyOptions{Check: true}); done.Newer != 2 || done.Copied != 0 {
		t.Errorf("got %+v", done)
	}
	if text := get(t, core, "moved/a", minio.GetObjectOptions{}); text != "of the bucket" {
		t.Errorf("got %q", text)
	}
}

func TestACheckFindsAnObjectThatIsNotTheFile(t *testing.T) {
	m := newMoving(t)
	core := m.core(t, shop)
	m.write("a", "right")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(m.direct, "a"), old, old); err != nil {
		t.Fatal(err)
	}
	wrong := minio.PutObjectOptions{UserMetadata: map[string]string{"Tide-Modified": "another time"}}
	if _, err := core.Client.PutObject(t.Context(), "uploads", "moved/a", strings.NewReader("wrong"), 5, wrong); err != nil {
		t.Fatal(err)
	}
	if done := m.copy(files.CopyOptions{}); done.Same != 1 {
		t.Errorf("by the listing: %+v", done)
	}
	if done := m.copy(files.CopyOptions{Check: true}); done.Copied != 1 {
		t.Errorf("by the check: %+v", done)
	}
	if text := get(t, core, "moved/a", minio.GetObjectOptions{}); text != "right" {
		t.Errorf("got %q", text)
	}
}

func TestACopyGoesOnWhereItWasEnded(t *testing.T) {
	m := newMoving(t)
	for i := range files.PageLimit + 5 {
		m.write(fmt.Sprintf("%04d", i), "x")
	}
	first := m.copy(files.CopyOptions{Limit: time.Nanosecond})
	if first.Copied != files.PageLimit || first.Next != "0999" {
		t.Fatalf("got %+v", first)
	}
	if rest := m.copy(files.CopyOptions{After: first.Next}); rest.Copied != 5 || rest.Next != "" {
		t.Errorf("got %+v", rest)
	}
	if all := m.copy(files.CopyOptions{}); all.Same != files.PageLimit+5 {
		t.Errorf("got %+v", all)
	}
}

func TestABucketThatCannotBeWrittenToIsSaid(t *testing.T) {
	m := newMoving(t)
	m.write("a", "x")
	for says, change := range map[string]func(*files.Bucket){
		"refuses the keys":        func(b *files.Bucket) { b.SecretKey = "wrong" },
		"there is no bucket mine": func(b *files.Bucket) { b.Name = "mine" },
		"cannot be written to":    func(b *files.Bucket) { b.Endpoint = "http://127.0.0.1:1" },
	} {
		bucket := m.bucket
		change(&bucket)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		_, err := m.source.CopyTo(ctx, bucket, files.CopyOptions{})
		cancel()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
