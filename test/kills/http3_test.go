package kills

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/springtide/springtide/test/story"
)

// overQUIC gives a client that speaks HTTP/3 to a platform.
func overQUIC(t *testing.T, address string, roots *x509.CertPool) *http3.Transport {
	t.Helper()
	transport := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		Dial: func(ctx context.Context, _ string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
			patient := config.Clone()
			patient.HandshakeIdleTimeout = time.Minute // by default it is 5 s, which a busy machine may take
			return quic.DialAddr(ctx, address, tlsConfig, patient)
		},
	}
	t.Cleanup(func() { transport.Close() })
	return transport
}

// leftByItself tells whether it was the client that closed its connection: that of quic-go
// does so at a GOAWAY that comes between its opening a request's stream and its counting it.
func leftByItself(err error) bool {
	fault, ok := errors.AsType[*http3.Error](err)
	return ok && !fault.Remote && fault.ErrorCode == http3.ErrCodeNoError
}

func TestUpgradesLoseNothingOverHTTP3(t *testing.T) {
	p := story.Own(t)
	url, _ := quizOn(t, p)
	ca, err := p.CA(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var clients sync.WaitGroup
	for range 3 {
		client := &http.Client{Transport: overQUIC(t, p.HTTPS, ca), Timeout: time.Minute}
		clients.Go(func() {
			for ; ctx.Err() == nil; asked.Add(1) {
				response, err := client.Get(url)
				if leftByItself(err) {
					continue
				}
				if err != nil {
					t.Error(err)
					continue
				}
				_, err = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if leftByItself(err) {
					continue
				}
				if err != nil || response.StatusCode != http.StatusOK || response.ProtoMajor != 3 {
					t.Error(response.Status, response.Proto, err)
				}
			}
		})
	}
	for range 10 {
		if _, err := p.CLI(t.Context(), "upgrade"); err != nil {
			t.Fatal(err)
		}
		before := asked.Load()
		story.Eventually(t, "requests of the new edge", time.Minute, func() bool { return asked.Load() > before+10 })
	}
	stop()
	clients.Wait()
	t.Logf("%d requests", asked.Load())
}

func TestHTTP3CanBeLeftOut(t *testing.T) {
	p := story.Platform(t, "--http3=false")
	conn, err := net.ListenPacket("udp", p.HTTPS)
	if err != nil {
		t.Fatalf("the port is not free by UDP: %v", err)
	}
	conn.Close()
}
