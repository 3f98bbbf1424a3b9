// Package health finds out whether an instance can be given requests: one
// probe, the state that a row of probes amounts to, and the loop that turns
// the one into the other.
package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/springtide/springtide"
)

// standardConnect is how long a connection may take: instances are close by.
const standardConnect = 900 * time.Millisecond

// Target is what is probed.
type Target struct {
	// Address is "ip:port"; of use for a path and for TCP.
	Address string
	// Connect is how long a connection may take. Default: 900 ms.
	Connect time.Duration
	// Run runs a command where the instance runs; exit 0 is no error.
	Run func(ctx context.Context, command string) error
}

// Probe probes once; no error is healthy. Without anything to probe it is.
func Probe(ctx context.Context, health springtide.Health, target Target) error {
	health = withDefaults(health)
	ctx, cancel := context.WithTimeout(ctx, health.Timeout)
	defer cancel()
	dialer := net.Dialer{Timeout: cmp.Or(target.Connect, standardConnect)}
	switch {
	case health.Path != "":
		return probeHTTP(ctx, dialer, health, target.Address)
	case health.TCP:
		return probeTCP(ctx, dialer, target.Address)
	case health.Command != "":
		err := target.Run(ctx, health.Command)
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("the health command did not end within %s", health.Timeout)
		}
		return err
	}
	return nil
}

func probeTCP(ctx context.Context, dialer net.Dialer, address string) error {
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return plain(err, address)
	}
	return conn.Close()
}

func probeHTTP(ctx context.Context, dialer net.Dialer, health springtide.Health, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+health.Path, nil)
	if err != nil {
		return err
	}
	// Frameworks refuse hosts they do not know; all of them know this one.
	request.Host = "localhost"
	request.Header.Set("User-Agent", "tide-health")
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("GET %s was not answered within %s", health.Path, health.Timeout)
		}
		return plain(err, address)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10)
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return fmt.Errorf("GET %s was answered with %d", health.Path, response.StatusCode)
	}
	return nil
}

// plain says in few words why there is no connection.
func plain(err error, address string) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens on %s", address)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s cannot be reached", address)
	}
	if reason, ok := errors.AsType[*net.OpError](err); ok {
		return reason.Err
	}
	return err
}
