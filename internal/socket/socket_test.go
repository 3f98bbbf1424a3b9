package socket

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// echo answers one connection with what it says.
func echo(t *testing.T, path string) {
	t.Helper()
	listener, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.Copy(conn, conn)
	}()
}

func answers(t *testing.T, path string) {
	t.Helper()
	conn, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(conn); err != nil || string(said) != "hello" {
		t.Fatalf("got %q, %v", said, err)
	}
}

func TestAPathMayBeOfAnyLength(t *testing.T) {
	root := t.TempDir()
	for _, length := range []int{longest - 1, longest, longest + 1, longest + 2, 400, 2000} {
		folder := root
		for len(folder)+len("/api.sock") < length {
			folder += "/" + strings.Repeat("x", min(200, max(1, length-len(folder)-len("/api.sock")-1)))
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		path := folder + "/api.sock"
		echo(t, path)
		answers(t, path)
	}
}

func TestAFolderMayBeASymbolicLink(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, strings.Repeat("y", 120))
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(root, "link")
	if err := os.Symlink(folder, link); err != nil {
		t.Fatal(err)
	}
	echo(t, filepath.Join(link, "api.sock"))
	answers(t, filepath.Join(folder, "api.sock"))
}

func TestOnlyTheOwnerMayConnectWhateverTheUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "api.sock")
	echo(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
}

func TestASocketThatADeadProcessLeftIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("closing removed the path, which may be another's by then: %v", err)
	}
	if _, err := Dial(t.Context(), path); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("connecting to nobody: %v", err)
	}
	echo(t, path)
	answers(t, path)
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if listener, err := Listen(path); err == nil {
		listener.Close()
		t.Error("a file was replaced")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}

func TestConnectingToNothingNamesThePath(t *testing.T) {
	folder := filepath.Join(t.TempDir(), strings.Repeat("z", 120))
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "api.sock")
	_, err := Dial(context.Background(), path)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestNoFolderIsLeftOpen(t *testing.T) {
	folder := filepath.Join(t.TempDir(), strings.Repeat("x", 150))
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	before := openFiles(t)
	for range 10 {
		listener, err := Listen(filepath.Join(folder, "api.sock"))
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
		if conn, err := Dial(t.Context(), filepath.Join(folder, "api.sock")); err == nil {
			conn.Close()
		}
	}
	if after := openFiles(t); after > before+2 {
		t.Errorf("%d open files became %d", before, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
