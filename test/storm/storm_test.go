// Package storm has clients of every protocol ask a real edge for all that there is, while
// what they ask for changes, connections end, instances die and tables are replaced. What
// each answer must be can be computed, and is: it is nobody else's, whole, and not too old.
package storm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/springtide/springtide/test/story"
)

const (
	// lasts is how long the storm is, if STORM does not say: STORM=5m.
	lasts = 12 * time.Second
	// patience is how long an answer may take: a busy machine has taken a minute to read one.
	patience = 4 * time.Minute
	// mostWrong is how much is told of.
	mostWrong = 20
)

// judge is told what came of a question; of none where there was no connection.
type judge func(*question, error)

// client is one of those who ask.
type client interface {
	// round asks some questions.
	round(ctx context.Context, judge judge)
	close()
}

// remember keeps the tag of what came.
func (a *asker) remember(q *question, header http.Header) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if tag := header.Get("ETag"); tag != "" && q.method == http.MethodGet {
		a.tags[q.path+q.variant] = tag
	}
}

// STORM is how long it lasts, STORM_SEED makes the same choices again (the times are others).
func TestEveryAnswerIsWhatItMustBe(t *testing.T) {
	length, seed := lasts, rand.Uint64()
	if text := os.Getenv("STORM"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("STORM_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("STORM_SEED=%d", seed)
	w := newWorld(rand.New(rand.NewPCG(seed, 0)))
	e := newEdge(t, w)
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var asking sync.WaitGroup
	var asked, excused, wrong atomic.Int64
	for i, client := range e.clients(seed) {
		asking.Go(func() {
			defer client.close()
			for ctx.Err() == nil && wrong.Load() < mostWrong {
				client.round(t.Context(), func(q *question, err error) {
					asked.Add(1)
					switch {
					case errors.Is(err, errExcused):
						excused.Add(1)
					case err != nil && wrong.Add(1) <= mostWrong:
						t.Errorf("client %d (%T), %s: %v", i, client, q, err)
					}
				})
			}
		})
	}
	asking.Go(func() { e.weather(ctx, t, w, rand.New(rand.NewPCG(seed, 1))) })
	asking.Wait()
	t.Logf("%d answers in %s, of which %d are excused", asked.Load(), length, excused.Load())
	if excused.Load() > asked.Load()/2 { // where a machine answers little, most of that may be cut off by what dies
		t.Error("so many are excused that it tells nothing")
	}
}

// stormy is a real edge before some instances.
type stormy struct {
	tables
	world          *world
	plain, secured string
	trust          *tls.Config
}

func newEdge(t *testing.T, w *world) *stormy {
	e := &stormy{world: w, plain: story.Address(t), secured: own()}
	for range 4 {
		one := &instance{world: w, address: story.Address(t)} // where it comes back
		if err := one.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(one.die)
		e.instances = append(e.instances, one)
	}
	folder := story.Folder(t)
	e.trust = certify(t, folder)
	e.path = filepath.Join(folder, "table.json")
	if err := e.write(e.instances); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(story.Binary(t), "edge", "--table", e.path, "--data", filepath.Join(folder, "data"), "--listen", "http://"+e.plain, "--listen", "https://"+e.secured,
		"--cache-memory", "16", "--cache-disk", "128", "--refuse-floods", "0", "--log-level", "warn")
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	e.process = command.Process.Pid
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGQUIT)
		if err := command.Wait(); err != nil {
			t.Errorf("the edge ended with %v", err)
		}
	})
	story.Eventually(t, "the edge to listen", 30*time.Second, func() bool {
		conn, err := net.Dial("tcp", e.secured)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return e
}

// clients gives some of each protocol.
func (e *stormy) clients(seed uint64) (all []client) {
	asks := func(secure bool) *asker {
		n := uint64(len(all)) + 2
		return &asker{name: strconv.FormatUint(n, 10), random: rand.New(rand.NewPCG(seed, n)), world: e.world, secure: secure, tags: make(map[string]string)}
	}
	over := func(protocol string) *tls.Config {
		config := e.trust.Clone()
		config.NextProtos = []string{protocol}
		return config
	}
	for range 3 {
		all = append(all, &http1{asker: asks(false), address: e.plain})
		all = append(all, &http2Client{asker: asks(true), address: e.secured, tls: over("h2")})
	}
	all = append(all, &http1{asker: asks(true), address: e.secured, tls: over("http/1.1")})
	for range 2 {
		all = append(all, &http3Client{asker: asks(true), address: e.secured, transport: func() *http3.Transport {
			return &http3.Transport{TLSClientConfig: over(http3.NextProtoH3), QUICConfig: &quic.Config{HandshakeIdleTimeout: 30 * time.Second}, DisableCompression: true}
		}})
	}
	return all
}

// certify writes a certificate for example.com, and gives how it is trusted.
func certify(t *testing.T, folder string) *tls.Config {
	origin := httptest.NewTLSServer(nil) // for its certificate
	origin.Close()
	pair := origin.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"chain.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(origin.Certificate())
	return &tls.Config{RootCAs: roots, ServerName: "example.com"}
}

// own gives an address that no other process uses, by TCP or by UDP: a port that nobody is
// given, of an address of the machine's own that is this process's.
func own() string {
	return fmt.Sprintf("127.%d.%d.1:7443", 64+os.Getpid()%128, os.Getpid()/128%256)
}
