package storm

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// http1 asks over HTTP/1.1, several questions at once, with TLS or without.
type http1 struct {
	*asker
	address string
	tls     *tls.Config
	conn    net.Conn
	heard   *bufio.Reader
	rounds  int // on this connection
}

func (c *http1) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *http1) dial(ctx context.Context) error {
	if c.conn != nil {
		return nil
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return err
	}
	if c.tls != nil {
		conn = tls.Client(conn, c.tls)
	}
	c.rounds = 0
	c.conn, c.heard = conn, bufio.NewReaderSize(conn, 4<<10)
	return nil
}

func (c *http1) round(ctx context.Context, judge judge) {
	if err := c.dial(ctx); err != nil {
		judge(nil, err)
		return
	}
	c.rounds++
	questions := make([]*question, 1+c.random.IntN(4)*c.random.IntN(2))
	for i := range questions {
		questions[i] = c.next()
		questions[i].began = time.Now()
	}
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	var sending strings.Builder
	for _, q := range questions {
		c.write(&sending, q)
	}
	conn := c.conn
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(conn, sending.String()) // what is not taken is not answered
	}()
	defer func() { <-sent }()
	for i, q := range questions {
		ends, err := c.hear(q)
		if _, wrong := errors.AsType[mismatch](err); err != nil && !wrong && !errors.Is(err, errExcused) {
			err = fmt.Errorf("answer %d of %d at once, connection of %d rounds: %w, %v", i+1, len(questions), c.rounds, err, questions)
		}
		judge(q, err)
		// Behind an answer that comes before its upload the connection may end.
		if err != nil || ends || q.method == http.MethodPost || c.random.IntN(60) == 0 {
			if err == nil && i+1 < len(questions) && !ends && q.method != http.MethodPost && c.random.IntN(2) == 0 {
				_, _ = c.heard.ReadByte() // in the midst of the next
			}
			c.close()
			return
		}
	}
}

// write writes a request: its body with a length, or in pieces.
func (c *http1) write(to *strings.Builder, q *question) {
	fmt.Fprintf(to, "%s %s HTTP/1.1\r\nHost: example.com\r\n", q.method, q.path)
	for _, field := range q.fields {
		fmt.Fprintf(to, "%s: %s\r\n", field[0], field[1])
	}
	body := q.upload
	if q.sending() == nil {
		to.WriteString("\r\n")
		return
	}
	if c.random.IntN(2) == 0 {
		fmt.Fprintf(to, "Content-Length: %d\r\n\r\n%s", len(body), body)
		return
	}
	to.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	for len(body) > 0 {
		n := min(1+c.random.IntN(20<<10), len(body))
		fmt.Fprintf(to, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	to.WriteString("0\r\n\r\n")
}

// hear reads an answer, and says whether the connection ends behind it.
func (c *http1) hear(q *question) (ends bool, err error) {
	response, err := http.ReadResponse(c.heard, &http.Request{Method: q.method})
	if err != nil {
		return true, q.excuse(fmt.Errorf("no head: %w", err))
	}
	defer response.Body.Close()
	trailer := func() http.Header { return response.Trailer }
	err = q.check(answer{response.StatusCode, response.Header, trailer, response.Body})
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		err = q.excuse(err)
	}
	c.remember(q, response.Header)
	return response.Close || errors.Is(err, errExcused), err
}
