package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
	"github.com/springtide/springtide/test/story"
)

var (
	shop = springtide.EnvironmentID{App: "shop", Name: "production"}
	key  = []byte("the key of the gateway")
)

// TestMain lets this program be the gateway's process, too.
func TestMain(m *testing.M) {
	if folder := os.Getenv("GATEWAY_FOLDER"); folder != "" {
		if err := serve(context.Background(), folder, os.Getenv("GATEWAY_LISTEN"), "", nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serve(ctx context.Context, folder, listen, public string, ready func()) error {
	store, err := files.New(files.Options{Folder: folder, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return Run(ctx, Options{Store: store, Key: key, Listen: listen, Public: public, Ready: ready, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
}

// world is a store with a gateway before it.
type world struct {
	folder  string
	address string
	store   *files.Store
}

func newWorld(t testing.TB, in string, wanted map[springtide.FilesName]springtide.Files) world {
	t.Helper()
	store, err := files.New(files.Options{Folder: in, Interval: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := world{folder: in, address: story.Address(t), store: store}
	w.provision(t, shop, wanted)
	return w
}

func (w world) provision(t testing.TB, id springtide.EnvironmentID, wanted map[springtide.FilesName]springtide.Files) {
	t.Helper()
	if err := w.store.Provision(context.Background(), id, wanted, os.Geteuid()); err != nil {
		t.Fatal(err)
	}
}

// start runs the gateway in this process.
func (w world) start(t testing.TB) world {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- serve(ctx, w.folder, w.address, "", func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

// spawn runs the gateway in a process of its own.
func (w world) spawn(t *testing.T) *os.Process {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), "GATEWAY_FOLDER="+w.folder, "GATEWAY_LISTEN="+w.address)
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
	eventually(t, func() bool {
		connection, err := net.Dial("tcp", w.address)
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
	return command.Process
}

func eventually(t testing.TB, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came about")
		}
	}
}

func (w world) core(t testing.TB, id springtide.EnvironmentID) *minio.Core {
	t.Helper()
	own := files.NewCredentials(key, id)
	return w.coreWith(t, own.AccessKey, own.SecretKey)
}

func (w world) coreWith(t testing.TB, access, secret string) *minio.Core {
	t.Helper()
	core, err := minio.NewCore(w.address, &minio.Options{
		Creds: credentials.NewStaticV4(access, secret, ""), Region: springtide.S3Region, BucketLookup: minio.BucketLookupPath, MaxRetries: 1,
		TrailingHeaders: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return core
}

func (w world) tree(id springtide.EnvironmentID) string {
	return filepath.Join(w.folder, string(id.App), string(id.Name), "uploads")
}

var oneFolder = map[springtide.FilesName]springtide.Files{"uploads": {Path: "/data/uploads"}}

func put(t testing.TB, core *minio.Core, name, content string) minio.UploadInfo {
	t.Helper()
	info, err := core.Client.PutObject(t.Context(), "uploads", name, strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
	if err != nil {
		t.Fatalf("put %q: %v", name, err)
	}
	return info
}

func get(t testing.TB, core *minio.Core, name string, o minio.GetObjectOptions) string {
	t.Helper()
	body, _, _, err := core.GetObject(t.Context(), "uploads", name, o)
	if err != nil {
		t.Fatalf("get %q: %v", name, err)
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func wantCode(t testing.TB, err error, code string, status int) {
	t.Helper()
	if got := minio.ToErrorResponse(err); err == nil || got.Code != code || got.StatusCode != status {
		t.Errorf("got %v, %q, %d; want %q, %d", err, got.Code, got.StatusCode, code, status)
	}
}
