package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cipher is what all subjects are to speak: with different ones they would be
// compared by their ciphers.
const cipher = "TLS_AES_128_GCM_SHA256"

// row is what was measured of one subject in one case and round.
type row struct {
	Case     string  `json:"case"`
	Subject  string  `json:"subject"`
	Round    int     `json:"round"`
	CPU      float64 `json:"cpu_ms_per_1000_requests"`
	Rate     float64 `json:"requests_per_second"`
	P50      float64 `json:"p50_ms,omitempty"`
	P99      float64 `json:"p99_ms,omitempty"`
	Memory   float64 `json:"memory_mib"`
	Requests int     `json:"requests"`
	Protocol string  `json:"protocol"`
	Cipher   string  `json:"cipher,omitempty"`
}

// bench is one run of the benchmark.
type bench struct {
	options
	folder, self, caddy string
	chain, key, both    string
	roots               *x509.CertPool
	origin              *process
	originAddress       string
}

// measure starts a subject, looks whether what it answers is right, loads it,
// and ends it.
func (b *bench) measure(ctx context.Context, s subject, c aCase, round int) (row, error) {
	folder, err := os.MkdirTemp(b.folder, "subject-")
	if err != nil {
		return row{}, err
	}
	defer os.RemoveAll(folder)
	if err := os.Chmod(folder, 0o755); err != nil { // nginx's workers are somebody else
		return row{}, err
	}
	plain, err := freeAddress()
	if err != nil {
		return row{}, err
	}
	secure, err := freeAddress()
	if err != nil {
		return row{}, err
	}
	argv, err := s.configure(setting{
		folder: folder, chain: b.chain, key: b.key, both: b.both, plain: plain, secure: secure, origin: b.originAddress,
		cached: c.cached, workers: b.workers, tide: b.tide, caddy: b.caddy, self: b.self,
	})
	if err != nil {
		return row{}, err
	}
	core := subjectCore
	if b.workers > 1 {
		core = -1
	}
	env := []string{"XDG_DATA_HOME=" + folder}
	if s.processors {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(b.workers))
	}
	p, err := start(argv, core, env...)
	if err != nil {
		return row{}, err
	}
	defer p.stop()
	r := row{Case: c.Name, Subject: s.Name, Round: round}
	address := plain
	if c.secure {
		address = secure
	}
	if err := p.await(ctx, func() error { return b.check(ctx, c, address, &r) }); err != nil {
		return r, err
	}
	return r, b.load(ctx, p, c, address, &r)
}

// load warms the subject up, and then counts.
func (b *bench) load(ctx context.Context, p *process, c aCase, address string, r *row) error {
	if _, err := drive(ctx, c, address, time.Second); err != nil {
		return err
	}
	asked, err := b.originCount(ctx)
	if err != nil {
		return err
	}
	family := p.family()
	before := used(family)
	got, err := drive(ctx, c, address, b.length)
	if err != nil {
		return err
	}
	spent := used(family) - before
	after, err := b.originCount(ctx)
	if err != nil {
		return err
	}
	switch asked = after - asked; {
	case c.cached && asked > 3:
		return fmt.Errorf("the origin was asked %d times: it does not cache", asked)
	case !c.cached && asked < got.requests:
		return fmt.Errorf("the origin was asked %d times for %d requests", asked, got.requests)
	case got.requests == 0:
		return errors.New("there were no requests")
	}
	r.Requests = got.requests
	r.CPU = milliseconds(spent) / float64(got.requests) * 1000
	r.Rate = float64(got.requests) / got.elapsed.Seconds()
	r.P50, r.P99 = milliseconds(got.p50), milliseconds(got.p99)
	r.Memory = float64(memory(family)) / (1 << 20)
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// check looks whether the subject answers correctly, in the protocol and with
// the cipher that are to be measured.
func (b *bench) check(ctx context.Context, c aCase, address string, r *row) error {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: b.roots, ServerName: "bench.example.com", MinVersion: tls.VersionTLS13},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
		ForceAttemptHTTP2: c.http2, DisableCompression: true,
	}
	defer transport.CloseIdleConnections()
	scheme := "http"
	if c.secure {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://bench.example.com"+c.path, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || sha256.Sum256(content) != sha256.Sum256(body(c.path)) {
		return fmt.Errorf("it answers %s and %d bytes, which are not the origin's", response.Status, len(content))
	}
	if r.Protocol = response.Proto; c.http2 != (response.ProtoMajor == 2) {
		return fmt.Errorf("it speaks %s", response.Proto)
	}
	if c.secure {
		r.Cipher, err = negotiated(ctx, address)
	}
	return err
}

// negotiated gives the cipher that a client of OpenSSL, as the load generators
// are, is given.
func negotiated(ctx context.Context, address string) (string, error) {
	output, err := exec.CommandContext(ctx, "openssl", "s_client", "-connect", address, "-servername", "bench.example.com").CombinedOutput()
	if !bytes.Contains(output, []byte("Cipher is "+cipher)) {
		return "", fmt.Errorf("the cipher is another one, %w: %s", err, output)
	}
	return cipher, nil
}

func (b *bench) originCount(ctx context.Context) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.originAddress+"/count", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// freeAddress gives an address of this machine that nobody listens on.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// buildCaddy builds the peer of that name; it takes minutes the first time.
func buildCaddy(ctx context.Context, folder string) (string, error) {
	path := filepath.Join(folder, "caddy")
	command := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	command.Dir = filepath.Join("bench", "edge", "caddy")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("caddy cannot be built: %w: %s", err, output)
	}
	return path, nil
}
