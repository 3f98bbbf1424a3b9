// Package client speaks to the API of a platform: over its Unix socket, or over
// TLS with a token.
//
// What follows something (events, figures, logs, the end of a deploy or a run)
// survives a restart of the server: it connects again and goes on where it was.
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/socket"
)

// Options say where the platform is: at URL, or on this machine in Data.
type Options struct {
	// Data is the platform's data folder on this machine.
	Data string
	// URL is "https://host:port" of a platform elsewhere. It wins over Data.
	URL string
	// Token is needed with URL.
	Token string
	// CA is a certificate in PEM that the server's is checked against instead of
	// the system's authorities. May be empty.
	CA string
}

// Client speaks to one platform. All methods may be called at the same time.
type Client struct {
	http  *http.Client
	base  string
	token string
	// where names the platform in errors.
	where string
	local bool
}

// SocketPath gives the socket of the API in a data folder.
func SocketPath(data string) string { return filepath.Join(data, "run", "api.sock") }

// New makes a client. It does not connect yet.
func New(options Options) (*Client, error) {
	if options.URL == "" {
		path := SocketPath(options.Data)
		return &Client{
			http: &http.Client{Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return socket.Dial(ctx, path) },
			}},
			base: "http://tide", where: options.Data, local: true,
		}, nil
	}
	base, err := url.Parse(options.URL)
	if err != nil || base.Scheme != "https" || base.Host == "" {
		return nil, springtide.Errorf(springtide.Invalid, "%q is not the URL of a server", options.URL).WithHint("for example https://tide.example.com:7443")
	}
	if options.Token == "" {
		return nil, springtide.Errorf(springtide.Unauthorized, "%s needs a token", options.URL).
			WithHint("make one on the server with `tide tokens create NAME` and set TIDE_TOKEN")
	}
	config, err := trusting(options.CA)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dial, TLSClientConfig: config, TLSHandshakeTimeout: 10 * time.Second,
	}
	return &Client{
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		base: strings.TrimSuffix(options.URL, "/"), token: options.Token, where: options.URL,
	}, nil
}

// trusting knows servers by an authority's certificate, in PEM; empty: by those that
// the system trusts.
func trusting(authority string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if authority != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(authority)) {
			return nil, springtide.Errorf(springtide.Invalid, "the certificate of the server's authority is not PEM")
		}
	}
	return config, nil
}

// Where names the platform: its URL or its data folder.
func (c *Client) Where() string { return c.where }

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is one call of the API.
type request struct {
	method, path string
	query        url.Values
	// body is sent as it is if it is an io.Reader, else as JSON. nil: none.
	body any
	// contentType is that of a body that is an io.Reader; application/gzip if empty.
	contentType string
	// accept is the content type that is asked for; JSON if empty.
	accept string
}

// send makes the request and gives a response that is no error; the caller
// closes its body.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	body, contentType, err := encodeBody(r.body)
	if err != nil {
		return nil, err
	}
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, err
	}
	c.introduce(req.Header)
	if contentType != "" {
		req.Header.Set("Content-Type", cmp.Or(r.contentType, contentType))
	}
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	response, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		defer response.Body.Close()
		return nil, problem(response)
	}
	return response, nil
}

func encodeBody(value any) (io.Reader, string, error) {
	switch value := value.(type) {
	case nil:
		return nil, "", nil
	case io.Reader:
		return value, "application/gzip", nil
	default:
		text, err := json.Marshal(value)
		return bytes.NewReader(text), "application/json", err
	}
}

// introduce says who asks and in which version of the API.
func (c *Client) introduce(header http.Header) {
	header.Set(api.VersionHeader, strconv.Itoa(api.Version))
	if c.token != "" {
		header.Set("Authorization", "Bearer "+c.token)
	}
}

// problem reads the error out of a response.
func problem(response *http.Response) error {
	var body api.Problem
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(text, &body)
	}
	if err != nil || body.Err.Kind == "" {
		return springtide.Errorf(springtide.Internal, "the server answered %s, and not as `tide serve` does", response.Status).
			WithHint("check that the URL is that of tide's API")
	}
	return &body.Err
}

// unreachable says in words why there is no answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if wrong, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return springtide.Errorf(springtide.Denied, "%s is not trusted: %w", c.where, wrong.Err).
			WithHint("set TIDE_CA to a file with the certificate of its authority: `tide trust --print` on the server")
	}
	switch {
	case c.local && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)):
		return springtide.Errorf(springtide.Unavailable, "no tide is running on %s", c.where).
			WithHint("start one with `tide serve` or `tide up`")
	case c.local && errors.Is(err, fs.ErrPermission):
		return springtide.Errorf(springtide.Denied, "the tide that runs on %s belongs to another user", c.where).
			WithHint("use sudo, or --data for one of your own")
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	return &springtide.Error{Kind: springtide.Unavailable, Message: c.where + " does not answer: " + err.Error(), Cause: err}
}

// call makes a request and decodes the answer.
func call[T any](ctx context.Context, c *Client, r request) (T, error) {
	var answer T
	response, err := c.send(ctx, r)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return answer, springtide.Errorf(springtide.Unavailable, "the answer of %s breaks off: %w", c.where, err)
	}
	return answer, nil
}

// do makes a request whose answer has no body.
func (c *Client) do(ctx context.Context, method, path string) error {
	return c.doQuery(ctx, method, path, nil)
}

func (c *Client) doQuery(ctx context.Context, method, path string, query url.Values) error {
	response, err := c.send(ctx, request{method: method, path: path, query: query})
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// environmentPath gives the path of an environment, or of what is below it.
func environmentPath(id springtide.EnvironmentID, below ...string) string {
	path := "/v1/apps/" + url.PathEscape(string(id.App)) + "/environments/" + url.PathEscape(string(id.Name))
	for _, part := range below {
		path += "/" + url.PathEscape(part)
	}
	return path
}
