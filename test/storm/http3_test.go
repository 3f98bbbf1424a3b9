package storm

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// http3Client asks over HTTP/3, several questions at once.
type http3Client struct {
	*asker
	address   string
	transport func() *http3.Transport
	open      *http3.Transport
}

func (c *http3Client) close() {
	if c.open != nil {
		c.open.Close()
		c.open = nil
	}
}

func (c *http3Client) round(ctx context.Context, judge judge) {
	if c.open == nil {
		c.open = c.transport()
	}
	var asking sync.WaitGroup
	for range 1 + c.random.IntN(6) {
		q := c.next()
		q.began = time.Now()
		leaves := c.random.IntN(60) == 0
		asking.Go(func() { judge(q, c.ask(ctx, q, leaves)) })
	}
	asking.Wait()
	if c.random.IntN(60) == 0 {
		c.close()
	}
}

func (c *http3Client) ask(ctx context.Context, q *question, leaves bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, q.method, "https://"+c.address+q.path, q.sending())
	if err != nil {
		return err
	}
	request.Host = "example.com"
	for _, field := range q.fields {
		request.Header.Set(field[0], field[1])
	}
	if !q.coded {
		request.Header.Set("Accept-Encoding", "identity")
	}
	response, err := c.open.RoundTrip(request)
	if err != nil {
		return q.excuse(fmt.Errorf("no head: %w", err))
	}
	defer response.Body.Close()
	if leaves {
		return errExcused
	}
	c.remember(q, response.Header)
	return q.check(answer{response.StatusCode, response.Header, func() http.Header { return response.Trailer }, response.Body})
}
