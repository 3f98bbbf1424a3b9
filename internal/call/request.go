package call

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/springtide/springtide"
)

// mostRedirects is how often a GET is sent on.
const mostRedirects = 5

// decode reads a call, and refuses what could never be carried out.
func decode(payload json.RawMessage) (springtide.HTTPCall, error) {
	var asked springtide.HTTPCall
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		return asked, springtide.Errorf(springtide.Invalid, "the payload is not a call: %w", err).
			WithHint(`it is JSON of url, method, headers, body and rate: {"url":"/tasks/tidy"}`)
	}
	if _, err := parse(asked.URL); err != nil {
		return asked, err
	}
	switch asked.Method = cmp.Or(strings.ToUpper(asked.Method), http.MethodPost); asked.Method {
	case http.MethodGet, http.MethodHead:
		if len(asked.Body) > 0 {
			return asked, springtide.Errorf(springtide.Invalid, "a %s has no body", asked.Method)
		}
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		return asked, springtide.Errorf(springtide.Invalid, "%q is not a method that is called with", asked.Method).
			WithHint("it is one of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS")
	}
	if asked.Rate < 0 {
		return asked, springtide.Errorf(springtide.Invalid, "the rate %v is below nothing", asked.Rate)
	}
	for name, value := range asked.Headers {
		if err := checkHeader(name, value); err != nil {
			return asked, err
		}
	}
	return asked, nil
}

// parse reads where a call goes: a path alone has no host.
func parse(text string) (*url.URL, error) {
	where, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, springtide.Errorf(springtide.Invalid, "the URL of the call cannot be read: %w", plain(err))
	case strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "//"):
		return where, nil
	case where.User != nil:
		return nil, springtide.Errorf(springtide.Invalid, "the URL of the call has a user in it").
			WithHint("send it in the header Authorization")
	case (where.Scheme != "http" && where.Scheme != "https") || where.Hostname() == "":
		return nil, springtide.Errorf(springtide.Invalid, "the URL %q is neither a path of the app nor http:// or https:// with a host", text)
	}
	return where, nil
}

func checkHeader(name, value string) error {
	if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
		return springtide.Errorf(springtide.Invalid, "the header %q is not one that HTTP knows", name)
	}
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, "webhook-") || strings.HasPrefix(lower, "tide-") || slices.Contains([]string{
		"host", "connection", "content-length", "transfer-encoding", "trailer", "upgrade", "keep-alive", "te", "proxy-connection",
	}, lower) {
		return springtide.Errorf(springtide.Invalid, "the header %q is set by the platform alone", name)
	}
	return nil
}

// target is where a call goes.
type target struct {
	method string
	url    *url.URL
	client *http.Client
	host   string // empty: the app itself
}

// String leaves out what may be a secret: many a URL has one in its path.
func (t target) String() string {
	if t.host == "" {
		return t.method + " " + t.url.Path
	}
	return t.method + " to " + t.host
}

// target finds out where a call goes. An error is Invalid if it will never go.
func (c *Caller) target(id springtide.EnvironmentID, asked springtide.HTTPCall) (target, error) {
	method := cmp.Or(asked.Method, http.MethodPost)
	where, err := parse(asked.URL)
	if err != nil {
		return target{}, err
	}
	if where.Host != "" {
		client := *c.client
		client.CheckRedirect = checkRedirect
		return target{method: method, url: where, client: &client, host: strings.ToLower(strings.TrimSuffix(where.Hostname(), "."))}, nil
	}
	if c.options.App == nil {
		return target{}, springtide.Errorf(springtide.Invalid, "there is no app to call at %s", asked.URL)
	}
	base, given, err := c.options.App(id)
	if err != nil {
		return target{}, err
	}
	if where, err = url.Parse(strings.TrimSuffix(base, "/") + asked.URL); err != nil {
		return target{}, err
	}
	client := *given
	client.CheckRedirect = func(request *http.Request, via []*http.Request) error {
		// Its client may reach what nobody outside may.
		if request.URL.Host != where.Host {
			return refuse("the app sent the call on to %s", request.URL.Host)
		}
		return checkRedirect(request, via)
	}
	return target{method: method, url: where, client: &client}, nil
}

// checkRedirect lets a GET be sent on; of the headers, another host gets none
// that were meant for the first.
func checkRedirect(request *http.Request, via []*http.Request) error {
	first, last := via[0], via[len(via)-1]
	switch {
	case first.Method != http.MethodGet && first.Method != http.MethodHead:
		return http.ErrUseLastResponse
	case len(via) > mostRedirects:
		return refuse("the call was sent on more than %d times", mostRedirects)
	case last.URL.Scheme == "https" && request.URL.Scheme != "https":
		return refuse("the call was sent on from https to %s", request.URL.Scheme)
	case request.URL.Host != first.URL.Host:
		request.Header = http.Header{"User-Agent": first.Header["User-Agent"], "Accept": first.Header["Accept"]}
	}
	return nil
}

// request makes the request of an attempt.
func (c *Caller) request(ctx context.Context, run springtide.Run, asked springtide.HTTPCall, target target) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, target.method, target.url.String(), bytes.NewReader(asked.Body))
	if err != nil {
		return nil, plain(err)
	}
	header := request.Header
	header.Set("User-Agent", c.options.UserAgent)
	header.Set("Accept", "application/json, */*;q=0.5")
	header.Set("Idempotency-Key", string(run.ID))
	if len(asked.Body) > 0 {
		header.Set("Content-Type", "application/json")
	}
	for name, value := range asked.Headers {
		header.Set(name, value)
	}
	header.Set("Tide-Run", string(run.ID))
	header.Set("Tide-Attempt", strconv.Itoa(run.Attempt))
	header.Set("Tide-Fence", strconv.FormatInt(int64(run.Fence), 10))
	if run.Schedule != "" {
		header.Set("Tide-Schedule", string(run.Schedule))
		header.Set("Tide-Slot", run.Slot.UTC().Format(time.RFC3339))
	}
	if key := c.options.Secret(run.Environment); len(key) > 0 {
		now := time.Now()
		header.Set("Webhook-Id", string(run.ID))
		header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
		header.Set("Webhook-Signature", sign(key, string(run.ID), now, asked.Body))
	}
	return request, nil
}
