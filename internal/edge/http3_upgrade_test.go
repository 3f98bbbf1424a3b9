package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// longInstance answers /long in pieces over a while, and everything else with the
// request's body.
func longInstance(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/long" {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body)
		return
	}
	for range longPieces {
		if _, err := w.Write(longPiece); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		time.Sleep(20 * time.Millisecond) // for as long as an upgrade takes
	}
}

const longPieces = 150

var longPiece = bytes.Repeat([]byte("a piece of a long answer "), 160)

// leftByItself tells whether it was the client that closed its connection: that of quic-go
// does so at a GOAWAY that comes between its opening a request's stream and its counting it.
func leftByItself(err error) bool {
	fault, ok := errors.AsType[*http3.Error](err)
	return ok && !fault.Remote && fault.ErrorCode == http3.ErrCodeNoError
}

func TestTenUpgradesLoseNothingOfHTTP3(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", longInstance)))
	current := startProcess(t, e)
	e.process.cancel()
	<-e.process.ended
	var asked, downloaded, failed atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var ask func(client *http.Client, path string, body, want []byte)
	ask = func(client *http.Client, path string, body, want []byte) {
		request, err := http.NewRequest(http.MethodPost, "https://"+testHost+path, bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		response, err := client.Do(request)
		if err == nil {
			var got []byte
			got, err = io.ReadAll(response.Body)
			response.Body.Close()
			if err == nil && (response.StatusCode != http.StatusOK || response.ProtoMajor != 3 || !bytes.Equal(got, want)) {
				err = fmt.Errorf("%s %d with %d bytes, want %d", response.Proto, response.StatusCode, len(got), len(want))
			}
		}
		switch {
		case leftByItself(err):
			ask(client, path, body, want)
		case err != nil:
			failed.Add(1)
			t.Error(path, err)
		}
	}
	var clients sync.WaitGroup
	large := bytes.Repeat(longPiece, longPieces)
	for range 3 {
		kept, another := &http.Client{Transport: e.http3(t)}, &http.Client{Transport: e.http3(t)}
		clients.Go(func() {
			for ; ctx.Err() == nil; asked.Add(1) {
				ask(kept, "/", longPiece, longPiece)
			}
		})
		clients.Go(func() {
			for ; ctx.Err() == nil; downloaded.Add(1) {
				ask(another, "/long", nil, large)
			}
		})
	}
	clients.Go(func() {
		for ; ctx.Err() == nil; asked.Add(1) {
			fresh := e.http3(t)
			ask(&http.Client{Transport: fresh}, "/", large, large)
			fresh.Close()
		}
	})
	var old []*exec.Cmd
	for range 10 {
		next := startProcess(t, e)
		current.Process.Signal(syscall.SIGTERM)
		old, current = append(old, current), next
		before := asked.Load()
		eventually(t, "some requests", func() bool { return asked.Load() > before+20 || t.Failed() })
	}
	stop()
	clients.Wait()
	for _, process := range old {
		ended := make(chan error, 1)
		go func() { ended <- process.Wait() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("an edge does not end though nobody asks it any more")
		}
	}
	t.Logf("%d requests and %d downloads, %d failed", asked.Load(), downloaded.Load(), failed.Load())
}
