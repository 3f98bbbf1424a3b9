package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// client speaks to any of several servers, and to the next if one does not answer.
type client struct {
	apis  []string
	token string
	at    int
	http  http.Client
}

func newClient(apis []string, token string) *client {
	return &client{apis: apis, token: token, at: rand.IntN(len(apis)), http: http.Client{Timeout: 12 * time.Second}}
}

// refusal is an answer that would be the same the next time.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return fmt.Sprintf("%d: %s", r.status, r.text) }

// try asks one server once.
func (c *client) try(ctx context.Context, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.apis[c.at]+"/"+path, bytes.NewReader(body))
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
		err := c.try(ctx, path, question, answer)
		if _, refused := err.(refusal); err == nil || refused || ctx.Err() != nil {
			return err
		}
		c.at = (c.at + 1) % len(c.apis)
		time.Sleep(rand.N(100 * time.Millisecond))
	}
}
