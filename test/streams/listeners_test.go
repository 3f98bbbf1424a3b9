package streams

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// line is how many bytes the radio gives each number, with its end.
const line = 16

// listener hears the radio and checks every byte of it.
type listener struct {
	heard atomic.Int64 // bytes
	err   error        // how it ended; known once all have left
}

// listen has so many listeners tune in; leave has them go and returns when they have.
func listen(t *testing.T, client *http.Client, url string, n int) (listeners []*listener, leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	leave = func() { cancel(); running.Wait() }
	t.Cleanup(leave)
	ready := make(chan error, n)
	turns := make(chan struct{}, 32) // each has a handshake
	for range n {
		l := &listener{}
		listeners = append(listeners, l)
		running.Go(func() {
			turns <- struct{}{}
			body, err := tune(ctx, client, url)
			<-turns
			ready <- err
			if err == nil {
				l.err = l.hear(body)
				body.Close()
				if ctx.Err() != nil {
					l.err = nil
				}
			}
		})
	}
	for range n {
		if err := <-ready; err != nil {
			t.Fatal(err)
		}
	}
	return listeners, leave
}

func tune(ctx context.Context, client *http.Client, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	for tries := 1; err != nil && tries < 3 && ctx.Err() == nil; tries++ { // a handshake has 10 s, also of a busy machine
		answer, err = client.Do(request)
	}
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("GET %s: %s", url, answer.Status)
	}
	return answer.Body, nil
}

// hear reads until the stream ends, which is an error, or has a gap.
func (l *listener) hear(stream io.Reader) error {
	var expected []byte // what is left of the line that is being heard
	number := -1
	buffer := make([]byte, 4<<10)
	var first []byte
	for {
		n, err := stream.Read(buffer)
		heard := buffer[:n]
		l.heard.Add(int64(n))
		if number < 0 { // somewhere within a line
			first = append(first, heard...)
			if number, heard = begin(first); number < 0 && len(first) > 3*line {
				return fmt.Errorf("no line begins in %q", first)
			}
		}
		for number >= 0 && len(heard) > 0 {
			if len(expected) == 0 {
				number++
				expected = fmt.Appendf(expected, "%015d\n", number)
			}
			k := min(len(expected), len(heard))
			if !bytes.Equal(heard[:k], expected[:k]) {
				return fmt.Errorf("in line %d there is %q where %q is due", number, heard[:k], expected[:k])
			}
			heard, expected = heard[k:], expected[k:]
		}
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", l.heard.Load(), err)
		}
	}
}

// begin finds the first whole line, and gives its number and what comes after it;
// -1 if there is none yet.
func begin(text []byte) (number int, rest []byte) {
	end := bytes.IndexByte(text, '\n')
	if end < 0 || len(text) < end+1+line {
		return -1, nil
	}
	number, err := strconv.Atoi(string(text[end+1 : end+line]))
	if err != nil {
		return -1, nil
	}
	return number, text[end+1+line:]
}
