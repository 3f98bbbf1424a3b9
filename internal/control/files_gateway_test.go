package control

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
	"github.com/springtide/springtide/test/story"
)

// gatewayKey is what must not be seen of the gateway from outside.
var gatewayKey = []byte("the key of the gateway, in full")

// runGateway is a gateway over a data folder, as one control plane has it.
func runGateway(t *testing.T, data string) (g *gateway, stop func()) {
	t.Helper()
	g = newGateway(data, netip.MustParseAddr("127.0.0.1"), func() []byte { return gatewayKey }, func() {}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return g, stop
}

// filesData is a data folder with the shared folder uploads of the quiz.
func filesData(t *testing.T) string {
	t.Helper()
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := files.New(files.Options{Folder: filepath.Join(data, "files"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	err = store.Provision(t.Context(), quiz, map[springtide.FilesName]springtide.Files{"uploads": {Path: "/data/uploads"}}, os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"files-s3", "files-public"} {
		keepPort(t, data, name)
	}
	t.Cleanup(func() {
		if err := (&gateway{data: data}).end(); err != nil {
			t.Error(err)
		}
	})
	return data
}

// keepPort has a data folder keep a port that is nobody else's: it is free again when its
// process has ended.
func keepPort(t *testing.T, data, name string) {
	t.Helper()
	_, port, err := net.SplitHostPort(story.Address(t))
	if err == nil {
		err = os.WriteFile(filepath.Join(data, "run", name+".port"), []byte(port), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// kill ends a process, and returns when it has ended.
func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := awaitEnd(t.Context(), pid); err != nil {
		t.Fatal(err)
	}
}

func (g *gateway) put(ctx context.Context, name string) error {
	s3, _, err := g.addresses()
	if err != nil {
		return err
	}
	own := files.NewCredentials(gatewayKey, quiz)
	client, err := minio.New(s3.String(), &minio.Options{
		Creds: credentials.NewStaticV4(own.AccessKey, own.SecretKey, ""), Region: springtide.S3Region, BucketLookup: minio.BucketLookupPath, MaxRetries: 1,
	})
	if err != nil {
		return err
	}
	_, err = client.PutObject(ctx, "uploads", name, strings.NewReader("meow"), 4, minio.PutObjectOptions{})
	return err
}

func TestTheGatewayOutlivesAControlPlaneAndIsStartedAgainWhenItDies(t *testing.T) {
	data := filesData(t)
	first, stop := runGateway(t, data)
	if pid, _ := first.running(); pid != 0 {
		t.Fatal("it runs before anybody needs it")
	}
	if err := first.need(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid, args := first.running()
	if err := first.put(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || bytes.Contains(environment, gatewayKey) || strings.Contains(strings.Join(args, " "), string(gatewayKey)) {
		t.Errorf("the key can be seen (%v)", err)
	}
	stop()

	second, stop := runGateway(t, data)
	defer stop()
	if err := second.need(t.Context()); err != nil {
		t.Fatal(err)
	}
	if adopted, again := second.running(); adopted != pid || !slices.Equal(again, args) {
		t.Errorf("process %d was replaced by %d, %q", pid, adopted, again)
	}
	kill(t, pid)
	for deadline := time.Now().Add(time.Minute); second.put(t.Context(), "two") != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come back")
		}
	}
	if _, again := second.running(); !slices.Equal(again, args) {
		t.Errorf("it came back as %q, not %q", again, args)
	}
}

func TestAGatewayOfAnotherVersionIsReplaced(t *testing.T) {
	data := filesData(t)
	first, stop := runGateway(t, data)
	if err := first.need(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	pid, args := first.running()
	// As another version would have it: the same program by another name.
	kill(t, pid)
	old := filepath.Join(data, "run", "tide-files-old")
	if err := os.Rename(args[0], old); err != nil {
		t.Fatal(err)
	}
	if _, err := first.start(first.command(old)); err != nil {
		t.Fatal(err)
	}
	second, stop := runGateway(t, data)
	defer stop()
	if err := second.need(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, again := second.running(); !slices.Equal(again, args) {
		t.Errorf("%q serves, not %q", again, args)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the old program: %v", err)
	}
}

func TestAPortThatSomebodyElseTookIsLeftToThem(t *testing.T) {
	data := filesData(t)
	first, stop := runGateway(t, data)
	if err := first.need(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	before, _, _ := first.addresses()
	pid, _ := first.running()
	kill(t, pid)
	other, err := listenKept(t.Context(), data, "files-s3", before.Addr())
	if err != nil || other.Addr().String() != before.String() {
		t.Fatalf("got %v, %v", other, err)
	}
	defer other.Close()
	second, stop := runGateway(t, data)
	defer stop()
	if err := second.need(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.put(t.Context(), "three"); err != nil {
		t.Error(err)
	}
	if after, _, _ := second.addresses(); after == before {
		t.Errorf("it serves at %s", after)
	}
}
