package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

func archiveOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, header := range headers {
		if header.Typeflag == 0 {
			header.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte("x"), int(header.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHostileArchivesAreRefused(t *testing.T) {
	link, hard := byte(tar.TypeSymlink), byte(tar.TypeLink)
	for name, one := range map[string]struct {
		archive []byte
		want    string
	}{
		"absolute path":           {archiveOf(t, tar.Header{Name: "/etc/x"}), "absolute path"},
		"path upwards":            {archiveOf(t, tar.Header{Name: "a/../../x"}), "may lead out"},
		"path upwards and back":   {archiveOf(t, tar.Header{Name: "a/../b"}), "may lead out"},
		"absolute link":           {archiveOf(t, tar.Header{Name: "l", Typeflag: link, Linkname: "/etc"}), "points out"},
		"link upwards":            {archiveOf(t, tar.Header{Name: "a/l", Typeflag: link, Linkname: "../.."}), "points out"},
		"link through a link":     {archiveOf(t, tar.Header{Name: "a/b/up", Typeflag: link, Linkname: "../.."}, tar.Header{Name: "x", Typeflag: link, Linkname: "a/b/up/.."}), "points out"},
		"file through a link":     {archiveOf(t, tar.Header{Name: "l", Typeflag: link, Linkname: "/tmp"}, tar.Header{Name: "l/evil"}), "is no folder"},
		"file onto a link":        {archiveOf(t, tar.Header{Name: "l", Typeflag: link, Linkname: "/tmp/x"}, tar.Header{Name: "l"}), "twice"},
		"link onto a folder":      {archiveOf(t, tar.Header{Name: "d/f"}, tar.Header{Name: "d", Typeflag: link, Linkname: "/tmp"}), "twice"},
		"file twice":              {archiveOf(t, tar.Header{Name: "f"}, tar.Header{Name: "./f"}), "twice"},
		"hard link":               {archiveOf(t, tar.Header{Name: "l", Typeflag: hard, Linkname: "/etc/passwd"}), "neither a file"},
		"device":                  {archiveOf(t, tar.Header{Name: "d", Typeflag: tar.TypeBlock}), "neither a file"},
		"named pipe":              {archiveOf(t, tar.Header{Name: "p", Typeflag: tar.TypeFifo}), "neither a file"},
		"too large":               {archiveOf(t, tar.Header{Name: "f", Size: 600}, tar.Header{Name: "g", Size: 600}), "too large"},
		"too many":                {archiveOf(t, tar.Header{Name: "a/b/c/d/e/f/g/h/i/j/k"}), "too large: more than 10 files"},
		"cut":                     {archiveOf(t, tar.Header{Name: "f", Size: 900})[:700], "did not arrive whole"},
		"cut and compressed":      {zipped(t, archiveOf(t, tar.Header{Name: "f", Size: 900}))[:60], "did not arrive whole"},
		"no archive":              {[]byte(strings.Repeat("<html>", 200)), "cannot be unpacked"},
		"nothing":                 {nil, "is empty"},
		"an archive with nothing": {archiveOf(t), "is empty"},
		"a bomb behind the end":   {zipped(t, append(archiveOf(t, tar.Header{Name: "f"}), make([]byte, 8<<20)...)), "something else"},
		"name that is too long":   {archiveOf(t, tar.Header{Name: strings.Repeat("n", 256)}), "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			err := unpack(t.Context(), bytes.NewReader(one.archive), folder, bounds{bytes: 1000, files: 10})
			if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), one.want) {
				t.Errorf("got %v, want an error with %q", err, one.want)
			}
		})
	}
}

func TestSourcesOfOtherToolsAreTaken(t *testing.T) {
	archive := archiveOf(t,
		tar.Header{Name: "pax_global_header", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "1234"}},
		tar.Header{Name: "./", Typeflag: tar.TypeDir}, tar.Header{Name: "./a/", Typeflag: tar.TypeDir}, tar.Header{Name: "a", Typeflag: tar.TypeDir},
		tar.Header{Name: "./a/run", Mode: 0o4755, Size: 1}, tar.Header{Name: "b", Mode: 0o666, Uid: 77})
	for name, data := range map[string][]byte{"plain": archive, "compressed": zipped(t, archive)} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := Unpack(t.Context(), bytes.NewReader(data), folder); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(files{"a/run": "x", "b": ""}, read(t, folder)); diff != "" {
				t.Error(diff)
			}
			info, err := os.Stat(filepath.Join(folder, "a/run"))
			if err != nil || info.Mode() != 0o755 {
				t.Errorf("the mode is %v (%v), want 0755", info.Mode(), err)
			}
		})
	}
}

func TestUnpackingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Unpack(ctx, bytes.NewReader(archiveOf(t, tar.Header{Name: "f"})), t.TempDir()); err == nil {
		t.Error("a cancelled upload was taken")
	}
}

func TestTheErrorOfTheUploadIsKept(t *testing.T) {
	gone := io.MultiReader(bytes.NewReader(archiveOf(t, tar.Header{Name: "f", Size: 900})[:600]), failingReader{})
	err := Unpack(t.Context(), gone, t.TempDir())
	if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), fs.ErrClosed.Error()) {
		t.Errorf("got %v", err)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, fs.ErrClosed }

// FuzzUnpack checks that whatever arrives, nothing is written outside of the
// folder, and that what is accepted has no link that leads out.
func FuzzUnpack(f *testing.F) {
	link := byte(tar.TypeSymlink)
	for _, seed := range [][]byte{
		archiveOf(f, tar.Header{Name: "a/b", Size: 10}, tar.Header{Name: "l", Typeflag: link, Linkname: "a/b"}),
		archiveOf(f, tar.Header{Name: "a/up", Typeflag: link, Linkname: ".."}, tar.Header{Name: "x", Typeflag: link, Linkname: "a/up/.."}),
		archiveOf(f, tar.Header{Name: "../x"}, tar.Header{Name: "/y"}),
		zipped(f, archiveOf(f, tar.Header{Name: "f", Size: 3})),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		outer, err := os.MkdirTemp("", "fuzz")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(outer)
		inner := filepath.Join(outer, "deep", "folder")
		if err := os.MkdirAll(inner, 0o755); err != nil {
			t.Fatal(err)
		}
		err = unpack(t.Context(), bytes.NewReader(data), inner, bounds{bytes: 1 << 20, files: 100})
		entries, _ := os.ReadDir(outer)
		above, _ := os.ReadDir(filepath.Join(outer, "deep"))
		if len(entries) != 1 || len(above) != 1 {
			t.Fatalf("something was written outside: %v %v", entries, above)
		}
		if err != nil {
			if springtide.KindOf(err) == springtide.Internal {
				t.Fatalf("a fault of the archive is told as one of the platform: %v", err)
			}
			return
		}
		_ = filepath.WalkDir(inner, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				t.Fatal(err)
			}
			if entry.Type() == fs.ModeSymlink {
				if real, err := filepath.EvalSymlinks(path); err == nil && real != inner && !strings.HasPrefix(real, inner+"/") {
					t.Fatalf("%s leads to %s", path, real)
				}
			} else if !entry.IsDir() && !entry.Type().IsRegular() {
				t.Fatalf("%s is a %v", path, entry.Type())
			}
			return nil
		})
	})
}

// packTo packs a folder into another and gives the error.
func packTo(t *testing.T, source, target string) *springtide.Error {
	t.Helper()
	reader, writer := io.Pipe()
	go func() {
		_, err := Pack(context.Background(), source, writer)
		writer.CloseWithError(err)
	}()
	err := Unpack(t.Context(), reader, target)
	reader.Close()
	failure, ok := errors.AsType[*springtide.Error](err)
	if !ok {
		t.Fatalf("got %v, want an error of the platform", err)
	}
	return failure
}
