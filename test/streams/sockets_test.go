package streams

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// sockets are WebSockets that say nothing unless they are asked to.
type sockets []*websocket.Conn

// dial opens so many WebSockets.
func dial(t *testing.T, client *http.Client, url string, n int) sockets {
	t.Helper()
	all := make(sockets, n)
	t.Cleanup(all.close)
	failed := each(n, func(i int) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		conn, answer, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client})
		if err != nil {
			return fmt.Errorf("%w (%v)", err, answer)
		}
		all[i] = conn
		return nil
	})
	for _, err := range failed {
		t.Fatalf("%d of %d WebSockets were not opened; the first: %v", len(failed), n, err)
	}
	return all
}

// echo has each say something of its own and hear it back, and gives what went wrong.
func (s sockets) echo(ctx context.Context, word string) []error {
	return each(len(s), func(i int) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		said := fmt.Sprintf("%s from %d", word, i)
		if err := s[i].Write(ctx, websocket.MessageText, []byte(said)); err != nil {
			return err
		}
		_, heard, err := s[i].Read(ctx)
		if err == nil && string(heard) != said {
			err = fmt.Errorf("said %q, heard %q", said, heard)
		}
		return err
	})
}

func (s sockets) close() {
	for _, conn := range s {
		if conn != nil {
			_ = conn.CloseNow()
		}
	}
}

// each does something for 0 to n-1, some at a time, and gives the errors.
func each(n int, do func(i int) error) []error {
	var mu sync.Mutex
	var failed []error
	var group sync.WaitGroup
	turns := make(chan struct{}, 16)
	for i := range n {
		turns <- struct{}{}
		group.Go(func() {
			defer func() { <-turns }()
			if err := do(i); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	group.Wait()
	return failed
}
