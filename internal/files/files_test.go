package files

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

var shop = springtide.EnvironmentID{App: "shop", Name: "production"}

var uploads = FolderID{shop, "uploads"}

// newFolder makes a store with one shared folder, of this process's own user.
func newFolder(t *testing.T, spec springtide.Files) (*Store, *Folder) {
	t.Helper()
	return newFolderIn(t, t.TempDir(), spec)
}

func newFolderIn(t *testing.T, in string, spec springtide.Files) (*Store, *Folder) {
	t.Helper()
	store, err := New(Options{Folder: in, Interval: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	provision(t, store, spec, os.Geteuid())
	folder, err := store.Open(uploads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	return store, folder
}

func provision(t *testing.T, store *Store, spec springtide.Files, owner int) {
	t.Helper()
	if err := store.Provision(t.Context(), shop, map[springtide.FilesName]springtide.Files{"uploads": spec}, owner); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, folder *Folder, name, content string) Entry {
	t.Helper()
	entry, err := folder.Put(t.Context(), name, strings.NewReader(content), PutOptions{Size: int64(len(content))})
	if err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
	return entry
}

func get(t *testing.T, folder *Folder, name string) string {
	t.Helper()
	file, err := folder.Read(name)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// direct is the path by which an app would reach a file.
func direct(store *Store, name string) string { return filepath.Join(store.tree(uploads), name) }

func wantKind(t *testing.T, err error, kind springtide.ErrorKind) {
	t.Helper()
	if springtide.KindOf(err) != kind {
		t.Errorf("got %q %v, want %s", springtide.KindOf(err), err, kind)
	}
}

// nothingHalf checks that no temporary file is left.
func nothingHalf(t *testing.T, store *Store) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(store.side(uploads), "temporary"))
	if err != nil || len(entries) > 0 {
		t.Errorf("left over: %v, %v", entries, err)
	}
}

func TestAFileIsWrittenAndReadAndSeenDirectly(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{})
	entry := put(t, folder, "a/b/cat.png", "meow")
	if entry.Size != 4 || entry.ETag == "" || entry.Name != "a/b/cat.png" {
		t.Errorf("got %+v", entry)
	}
	if text, err := os.ReadFile(direct(store, "a/b/cat.png")); err != nil || string(text) != "meow" {
		t.Errorf("directly it is %q, %v", text, err)
	}
	if err := os.WriteFile(direct(store, "a/dog.txt"), []byte("wuff"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text := get(t, folder, "a/dog.txt"); text != "wuff" {
		t.Errorf("got %q", text)
	}
	info, err := os.Stat(direct(store, "a/b"))
	if err != nil || info.Mode() != os.ModeDir|folderMode {
		t.Errorf("a folder that was made has the mode %v, %v", info.Mode(), err)
	}
	nothingHalf(t, store)
}

func TestWhoReadsAFileThatIsReplacedGoesOnWithTheOld(t *testing.T) {
	_, folder := newFolder(t, springtide.Files{})
	put(t, folder, "a", "old")
	file, err := folder.Read("a")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	put(t, folder, "a", "newer")
	if text, err := io.ReadAll(file); err != nil || string(text) != "old" {
		t.Errorf("got %q, %v", text, err)
	}
	if text := get(t, folder, "a"); text != "newer" {
		t.Errorf("got %q", text)
	}
}

func TestNamesThatAreNoPathsBelowTheFolderAreRefused(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{})
	for _, name := range []string{
		"", "/etc/passwd", "..", "../x", "a/../../x", "a/..", ".", "./a", "a/./b", "a//b", "a/", "a\x00b", "\xff",
		strings.Repeat("x", 256), strings.Repeat("a/", 600) + "a",
	} {
		_, err := folder.Put(t.Context(), name, strings.NewReader("x"), PutOptions{Size: 1})
		wantKind(t, err, springtide.Invalid)
		_, err = folder.Read(name)
		wantKind(t, err, springtide.Invalid)
		wantKind(t, folder.Delete(name, true), springtide.Invalid)
		_, err = folder.Stat(name)
		wantKind(t, err, springtide.Invalid)
	}
	if _, err := os.Stat(direct(store, "../x")); err == nil {
		t.Error("something was written outside")
	}
	for _, name := range []string{"ünïcödé 😀", "a b+c%20&?#", "new\nline", "...", ".hidden", "-rf", "a\\b", "\u0001"} {
		put(t, folder, name, name)
		if text := get(t, folder, name); text != name {
			t.Errorf("%q holds %q", name, text)
		}
	}
}

func TestNoLinkLeadsOutOfTheFolder(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{})
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(store.tree(uploads), outside)
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"absolute": outside, "relative": relative, "file": filepath.Join(outside, "secret"),
		"side": "../.uploads", "self": "self",
	} {
		if err := os.Symlink(target, direct(store, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"absolute/secret", "relative/secret", "file", "side/settings.json", "self"} {
		_, err := folder.Read(name)
		wantKind(t, err, springtide.Invalid)
	}
	for _, name := range []string{"absolute/new", "relative/secret", "side/settings.json", "self/x"} {
		_, err := folder.Put(t.Context(), name, strings.NewReader("x"), PutOptions{Size: 1})
		wantKind(t, err, springtide.Invalid)
		wantKind(t, folder.Delete(name, true), springtide.Invalid)
	}
	put(t, folder, "file", "mine") // a link is replaced, not followed
	if text, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(text) != "secret" {
		t.Errorf("outside there is %q, %v", text, err)
	}
	if text := get(t, folder, "file"); text != "mine" {
		t.Errorf("got %q", text)
	}
	page, err := folder.List(t.Context(), ListOptions{})
	if err != nil || len(page.Entries) != 1 {
		t.Errorf("listed %+v, %v", page.Entries, err)
	}
	if sums, err := folder.Du(t.Context(), ""); err != nil || len(sums) != 1 || sums[0].Bytes != 4 {
		t.Errorf("counted %+v, %v", sums, err)
	}
	if err := folder.Delete("absolute", true); err != nil { // the link itself
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(outside, "secret")); err != nil {
		t.Error(err)
	}
	nothingHalf(t, store)
}

func TestPipesAndSocketsAndDevicesAreNoFiles(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{})
	if err := syscall.Mkfifo(direct(store, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	names := []string{"pipe"}
	if err := syscall.Mknod(direct(store, "zero"), syscall.S_IFCHR|0o600, 1<<8|5); err == nil {
		names = append(names, "zero")
	}
	if err := os.Symlink("pipe", direct(store, "to-pipe")); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, "to-pipe") {
		_, err := folder.Read(name) // and does not wait
		wantKind(t, err, springtide.Invalid)
		_, err = folder.Stat(name)
		wantKind(t, err, springtide.Invalid)
	}
	if page, err := folder.List(t.Context(), ListOptions{}); err != nil || len(page.Entries) > 0 {
		t.Errorf("listed %+v, %v", page, err)
	}
	put(t, folder, "pipe", "a file now")
}

func TestAFileAndAFolderOfOneNameAreAConflict(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{})
	put(t, folder, "a/b", "x")
	for _, name := range []string{"a", "a/b/c"} {
		_, err := folder.Put(t.Context(), name, strings.NewReader("x"), PutOptions{Size: 1})
		wantKind(t, err, springtide.Conflict)
	}
	wantKind(t, folder.Delete("a", false), springtide.Conflict)
	if err := folder.Delete("a", true); err != nil {
		t.Error(err)
	}
	_, err := folder.Stat("a/b")
	wantKind(t, err, springtide.NotFound)
	wantKind(t, folder.Delete("a", false), springtide.NotFound)
	nothingHalf(t, store)
}

func TestABodyThatIsNotAsLongAsSaidIsNotWritten(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{})
	for _, said := range []int64{0, 4, 6, 1 << 40} {
		_, err := folder.Put(t.Context(), "a", strings.NewReader("12345"), PutOptions{Size: said})
		if err == nil {
			t.Errorf("%d bytes were said", said)
		}
	}
	broken := io.MultiReader(strings.NewReader("123"), brokenReader{})
	if _, err := folder.Put(t.Context(), "a", broken, PutOptions{Size: -1}); err == nil {
		t.Error("half a file was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := folder.Put(ctx, "a", strings.NewReader("x"), PutOptions{Size: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	_, err := folder.Stat("a")
	wantKind(t, err, springtide.NotFound)
	nothingHalf(t, store)
	if usage, err := folder.Usage(); err != nil || usage.Bytes != 0 {
		t.Errorf("counted %+v, %v", usage, err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestAFullDiskIsSaidAndLeavesNothingHalfDone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no tmpfs can be mounted: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	store, folder := newFolderIn(t, disk, springtide.Files{})
	put(t, folder, "a", "old")
	for _, size := range []int64{4 << 20, -1} {
		_, err := folder.Put(t.Context(), "a", bytes.NewReader(make([]byte, 4<<20)), PutOptions{Size: size})
		wantKind(t, err, springtide.Unavailable)
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v", err)
		}
	}
	upload, err := folder.BeginUpload("b", Attributes{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = folder.PutPart(t.Context(), upload.ID, 1, bytes.NewReader(make([]byte, 4<<20)), 4<<20)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if parts, err := folder.Parts(upload.ID); err != nil || len(parts) > 0 {
		t.Errorf("got %v, %v", parts, err)
	}
	if text := get(t, folder, "a"); text != "old" {
		t.Errorf("it holds %q", text)
	}
	nothingHalf(t, store)
	put(t, folder, "a", "new") // there is room again
}

func TestAFileIsNotReplacedWhereTheWriterExpectsAnother(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{})
	absent := func(old *Entry) error {
		if old != nil {
			return springtide.Errorf(springtide.Conflict, "it is there")
		}
		return nil
	}
	var writers sync.WaitGroup
	var won sync.Map
	for range 8 {
		writers.Go(func() {
			if entry, err := folder.Put(t.Context(), "one", strings.NewReader("x"), PutOptions{Size: 1, Unless: absent}); err == nil {
				won.Store(&entry, true)
			} else if springtide.KindOf(err) != springtide.Conflict {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	winners := 0
	won.Range(func(any, any) bool { winners++; return true })
	if winners != 1 {
		t.Errorf("%d writers won", winners)
	}
	nothingHalf(t, store)
	if usage, err := folder.Usage(); err != nil || usage.Bytes != 1 || usage.Files != 1 {
		t.Errorf("counted %+v, %v", usage, err)
	}
}

func TestACopyIsAFileOfItsOwn(t *testing.T) {
	_, folder := newFolder(t, springtide.Files{})
	put(t, folder, "a", "content")
	entry, err := folder.Copy(t.Context(), "a", "b/c")
	if err != nil || entry.Size != 7 {
		t.Fatalf("got %+v, %v", entry, err)
	}
	put(t, folder, "a", "other")
	if text := get(t, folder, "b/c"); text != "content" {
		t.Errorf("got %q", text)
	}
	_, err = folder.Copy(t.Context(), "missing", "d")
	wantKind(t, err, springtide.NotFound)
}
