package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

// witness asks the app which release answers.
type witness struct {
	target string
	// kept goes on with the connections it has, fresh makes one for each request.
	kept, fresh *http.Transport
}

func newWitness(target, address string, ca *x509.CertPool) *witness {
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	transport := func(fresh bool) *http.Transport {
		return &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: ca}, DisableKeepAlives: fresh}
	}
	return &witness{target: target, kept: transport(false), fresh: transport(true)}
}

// sees is an error if any answer is of another release.
func (w *witness) sees(ctx context.Context, release int) error {
	const requests = 20
	for range requests {
		for _, transport := range []*http.Transport{w.kept, w.fresh} {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.target+"/version", nil)
			if err != nil {
				return err
			}
			response, err := transport.RoundTrip(request)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if err != nil {
				return err
			}
			if got := response.Header.Get("X-Release"); got != strconv.Itoa(release) || response.StatusCode != http.StatusOK {
				return fmt.Errorf("after the deploy of release %d the answer %s came from release %q", release, response.Status, got)
			}
		}
	}
	return nil
}

func (w *witness) close() {
	w.kept.CloseIdleConnections()
	w.fresh.CloseIdleConnections()
}
