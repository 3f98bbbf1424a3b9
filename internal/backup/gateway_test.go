package backup

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	shared "github.com/springtide/springtide/internal/files"
	"github.com/springtide/springtide/internal/files/gateway"
)

// depotKey is what the keys of our own S3 are derived from.
var depotKey = []byte("the key of the depot")

// startGateway has the platform's own S3 serve the bucket store of an app, and
// gives the URL of a place in it with its keys.
func startGateway(t *testing.T) (url string, access TargetOptions) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	store, err := shared.New(shared.Options{Folder: quickFolder(t), Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	depot := springtide.EnvironmentID{App: "depot", Name: springtide.Production}
	wanted := map[springtide.FilesName]springtide.Files{"store": {Path: "/data/store"}}
	if err := store.Provision(t.Context(), depot, wanted, os.Geteuid()); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- gateway.Run(ctx, gateway.Options{Store: store, Key: depotKey, Listen: address, Ready: func() { close(ready) }, Logger: logger})
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(cancel) // it may take long to end: clients connect ahead, and then ask for nothing
	own := shared.NewCredentials(depotKey, depot)
	return "s3://store/pre/fix?region=" + springtide.S3Region + "&endpoint=http://" + address, TargetOptions{AccessKey: own.AccessKey, SecretKey: own.SecretKey}
}

func TestOurOwnS3RefusesWrongKeys(t *testing.T) {
	url, access := startGateway(t)
	access.SecretKey = "wrong"
	err := openTarget(t, url, access).Put(t.Context(), "a", strings.NewReader("x"))
	if springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), "refuses the keys") {
		t.Errorf("got %v", err)
	}
}

func TestAnUploadToOurOwnS3ThatWasCutOffIsGivenUp(t *testing.T) {
	url, access := startGateway(t)
	target := openTarget(t, url, access)
	cut := io.MultiReader(io.LimitReader(zeros{}, bucketPart+1), errorReader{})
	if err := target.Put(t.Context(), "large", cut); err == nil {
		t.Fatal("it was put")
	}
	if got := names(t, target, ""); len(got) != 0 {
		t.Errorf("there is %v", got)
	}
	if err := target.(Tidier).Tidy(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
}

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// errorReader breaks off.
type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestSharedFilesAreKeptInOurOwnS3AndComeBack(t *testing.T) {
	url, access := startGateway(t)
	d := newDepot(t)
	d.access = access
	k := d.keeperAt(url, nil)
	m := d.backup(k)
	was := d.read(d.data("uploads/one"))
	d.write("uploads/one", 5)
	second := d.backup(k)
	if second.ID == m.ID || len(d.backups(k)) != 2 {
		t.Errorf("got %s after %s", second.ID, m.ID)
	}
	if _, err := k.RestoreFiles(t.Context(), quizOf, m.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.files.exchange(uploads, m.ID, true); err != nil {
		t.Fatal(err)
	}
	if d.read(d.data("uploads/one")) != was {
		t.Error("it is not what was backed up")
	}
}
