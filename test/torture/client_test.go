package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

// client speaks to one of several servers, and to the next if that does not answer.
type client struct {
	apis  []string
	token string
	at    atomic.Int64
	http  http.Client
}

func newClient(apis []string, token string) *client {
	c := &client{apis: apis, token: token, http: http.Client{Timeout: 12 * time.Second}}
	c.at.Store(rand.Int64N(int64(len(apis))))
	return c
}

// refusal is an answer that would be the same the next time.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return fmt.Sprintf("%d: %s", r.status, r.text) }

// try asks one server once.
func (c *client) try(ctx context.Context, at int64, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.apis[at%int64(len(c.apis))]+"/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode >= 400 && response.StatusCode < 500:
		return refusal{response.StatusCode, string(text)}
	case response.StatusCode >= 300:
		return fmt.Errorf("%s: %s", response.Status, text)
	}
	return json.Unmarshal(text, answer)
}

// ask asks one server after the other, until one answers, refuses, or ctx ends.
func (c *client) ask(ctx context.Context, path string, question, answer any) error {
	for {
		at := c.at.Load()
		err := c.try(ctx, at, path, question, answer)
		if _, refused := errors.AsType[refusal](err); err == nil || refused || ctx.Err() != nil {
			return err
		}
		c.at.CompareAndSwap(at, at+1)
		time.Sleep(rand.N(100 * time.Millisecond))
	}
}
