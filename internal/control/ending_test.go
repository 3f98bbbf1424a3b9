package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/store/ledger"
	"github.com/springtide/springtide/internal/store/sqlite"
)

var quiz = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}

// idleApp is a data folder with an environment whose release has no process.
func idleApp(t *testing.T) string {
	t.Helper()
	data := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(data, "run"), 0o755))
	store, err := sqlite.Open(t.Context(), filepath.Join(data, "tide.db"), slog.New(slog.DiscardHandler))
	must(err)
	defer store.Close()
	_, err = store.CreateEnvironment(t.Context(), quiz)
	must(err)
	release, err := store.AddRelease(t.Context(), springtide.Release{Environment: quiz, App: springtide.App{Name: "quiz"}, Artifact: "sha256:0"})
	must(err)
	rollout, err := store.BeginRollout(t.Context(), springtide.Rollout{Release: springtide.ReleaseID{Environment: quiz, Number: release.Number}})
	must(err)
	must(store.SwitchRollout(t.Context(), rollout))
	must(store.FinishRollout(t.Context(), rollout))
	return data
}

// control runs a control plane until end is called, which waits for it.
func control(t *testing.T, o Options) (c *client.Client, end func()) {
	t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, o) }()
	end = func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	c, err := client.New(client.Options{Data: o.DataFolder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err = c.Status(t.Context()); err == nil {
			return c, end
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestAPlatformWhoseLedgerIsAwayIsUpAllTheSame(t *testing.T) {
	data := idleApp(t)
	if err := os.WriteFile(filepath.Join(data, "ledger-key"), []byte("the one that it had"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, end := control(t, Options{DataFolder: data, Ledger: "postgres://tide:s3cret@127.0.0.1:1/tide"})
	defer end()
	status, err := c.Status(t.Context())
	if err != nil || status.Environments != 1 || !strings.Contains(status.Ledger.Trouble, "does not answer") || strings.Contains(fmt.Sprint(status), "s3cret") {
		t.Errorf("it tells %+v, %v", status, err)
	}
	if _, err := c.Jobs(t.Context(), jobs.Query{Environment: quiz}); springtide.KindOf(err) != springtide.Unavailable || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("of jobs it says %v", err)
	}
}

func TestWhatThePlatformCarriesOutWhenItEndsIsGivenBack(t *testing.T) {
	called, over := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(called)
		<-over
	}))
	defer slow.Close()
	defer close(over)
	data := idleApp(t)
	c, end := control(t, Options{DataFolder: data, AllowCalls: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	var run springtide.RunID
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // the ledger is told of the app
		made, err := c.Enqueue(t.Context(), quiz, springtide.Job{Kind: springtide.RunHTTP, Payload: fmt.Appendf(nil, `{"url":%q}`, slow.URL)})
		if err == nil {
			run = made.Run
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	<-called
	end()
	book, err := ledger.Open(t.Context(), filepath.Join(data, "jobs.db"), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	left, err := book.Run(t.Context(), quiz, run)
	if err != nil || left.State != springtide.RunAvailable || left.Failures != 0 {
		t.Errorf("it is %s, after %d failures (%v)", left.State, left.Failures, err)
	}
}
