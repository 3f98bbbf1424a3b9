package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/test/story"
)

// pebble is an ACME server that runs, with a name server that says of every name
// that it is this machine.
type pebble struct {
	directory string
	// root is a file with the certificate that the server is known by, issuers are
	// those that it issues with.
	root    string
	issuers *x509.CertPool
	// dns is the address at which the name server is told records.
	dns string
}

// pebbleOptions say how it differs from an ACME server of the public.
type pebbleOptions struct {
	http, https string        // the addresses at which it looks
	life        time.Duration // of its certificates; default: 90 days
	blocked     []string      // names that it refuses
	// account and key are those of the one account that may be bound; empty: everybody
	// is served.
	account, key string
}

// programs gives the folder of the programs, which are built once.
var programs = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "tide-pebble-")
	if err != nil {
		return "", err
	}
	const module = "github.com/letsencrypt/pebble/v2/cmd/"
	build := exec.Command("go", "build", "-trimpath", "-o", folder+"/", module+"pebble", module+"pebble-challtestsrv")
	build.Dir = "pebble"
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as tide is built, with which it shares much
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, output)
	}
	return folder, nil
})

// TestMain removes the programs in the end.
func TestMain(m *testing.M) {
	code := m.Run()
	if folder, err := programs(); err == nil {
		os.RemoveAll(folder)
	}
	os.Exit(code)
}

// startPebble starts one that ends with the test.
func startPebble(t *testing.T, o pebbleOptions) *pebble {
	t.Helper()
	if _, err := programs(); err != nil { // before an address is taken: it takes a while
		t.Fatal(err)
	}
	folder := t.TempDir()
	p := &pebble{root: filepath.Join(folder, "root.pem"), dns: story.Address(t), issuers: x509.NewCertPool()}
	authority, err := cert.OpenAuthority(filepath.Join(folder, "ca"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := authority.Certificate([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	listen, management, names := story.Address(t), story.Address(t), story.Address(t)
	p.directory = "https://" + listen + "/dir"
	if o.life == 0 {
		o.life = 90 * 24 * time.Hour
	}
	bound := map[string]string{}
	if o.account != "" {
		bound[o.account] = o.key
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": management, "httpPort": port(t, o.http), "tlsPort": port(t, o.https),
		"certificate": filepath.Join(folder, "own.pem"), "privateKey": filepath.Join(folder, "own.key"), "domainBlocklist": o.blocked,
		"externalAccountBindingRequired": len(bound) > 0, "externalAccountMACKeys": bound,
		"retryAfter": map[string]int{"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
		"profiles": map[string]any{"default": map[string]any{"description": "", "validityPeriod": int(o.life.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"root.pem": authority.PEM(), "own.pem": []byte(own.Chain), "own.key": []byte(own.Key), "config.json": config} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start(t, "pebble-challtestsrv", nil, "-dnsserver", names, "-management", p.dns, "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
	story.Eventually(t, "the name server is up", 30*time.Second, func() bool {
		conn, err := net.Dial("tcp", p.dns)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	start(t, "pebble", []string{"PEBBLE_VA_NOSLEEP=1"}, "-config", filepath.Join(folder, "config.json"), "-dnsserver", names)
	p.readIssuers(t, authority, management)
	return p
}

// gate gives an address from which connections go on to another one, once it is open.
func gate(t *testing.T, to string) (address string, open func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan struct{})
	open = sync.OnceFunc(func() { close(opened) })
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			passing.Go(func() {
				defer conn.Close()
				<-opened
				there, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer there.Close()
				go func() {
					_, _ = io.Copy(there, conn)
					there.Close()
				}()
				_, _ = io.Copy(conn, there)
			})
		}
	})
	t.Cleanup(func() {
		open()
		listener.Close()
		passing.Wait()
	})
	return listener.Addr().String(), open
}

// start runs one of the programs until the test ends.
func start(t *testing.T, name string, variables []string, arguments ...string) {
	t.Helper()
	folder, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, filepath.Join(folder, name), arguments...)
	command.Env = append(os.Environ(), variables...)
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = command.Wait() // killed
		log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s said:\n%s", name, text[max(0, len(text)-8000):])
		}
	})
}

// readIssuers waits until the server is up.
func (p *pebble) readIssuers(t *testing.T, authority *cert.Authority, management string) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM())
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	story.Eventually(t, "pebble is up", 30*time.Second, func() bool {
		response, err := client.Get("https://" + management + "/roots/0")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return err == nil && p.issuers.AppendCertsFromPEM(text)
	})
}

func port(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return number
}
