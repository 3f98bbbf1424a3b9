// Package acme tells of certificates: how a domain gets one from an ACME server,
// keeps it, and what is said when it does not.
package acme

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/test/story"
)

// patience is how long anything here may take.
const patience = 2 * time.Minute

// serve starts a platform that asks an ACME server, with the leaflet on it.
func serve(t *testing.T, ca *pebble, https, http string, arguments ...string) *platform.Platform {
	t.Helper()
	p := story.Platform(t, append([]string{
		"--https", https, "--http", http, "--acme-email", "you@example.com", "--acme-directory", ca.directory, "--acme-root", ca.root,
	}, arguments...)...)
	story.Deploy(t, p, story.App(t, "static"))
	return p
}

func tide(t *testing.T, p *platform.Platform, arguments ...string) string {
	t.Helper()
	output, err := p.CLI(t.Context(), arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// refused runs a command that ends with code 2 or 3 and gives what it says.
func refused(t *testing.T, p *platform.Platform, arguments ...string) string {
	t.Helper()
	output, err := p.Command(t.Context(), arguments...).CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() < 1 || exit.ExitCode() > 3 { //nolint:errorlint // os/exec does not wrap it
		t.Fatalf("tide %v: %v\n%s", arguments, err, output)
	}
	return string(output)
}

// domain is the public name that the leaflet gets.
const domain = "leaflet.example.com"

// shown gives the certificate that the domain is served with, nil if there is none.
func shown(https string) *x509.Certificate {
	conn, err := tls.Dial("tcp", https, &tls.Config{ServerName: domain, InsecureSkipVerify: true}) //nolint:gosec // it is verified by the caller
	if err != nil {
		return nil
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// trusted reports whether a browser that knows some authorities would show a page.
func trusted(https, name string, roots *x509.CertPool) bool {
	conn, err := tls.Dial("tcp", https, &tls.Config{ServerName: name, RootCAs: roots})
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func certificateOf(t *testing.T, p *platform.Platform, name string) api.Certificate {
	t.Helper()
	var all []api.Certificate
	if err := json.Unmarshal([]byte(tide(t, p, "certificates", "ls", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("%s is not listed in %v", name, all)
	return api.Certificate{}
}

func TestADomainGetsACertificateByHTTPAndWhatFailsIsSaid(t *testing.T) {
	https, plain := story.Address(t), story.Address(t)
	ca := startPebble(t, pebbleOptions{http: plain, https: story.Address(t), blocked: []string{"blocked.example.com"}})
	p := serve(t, ca, https, plain)
	if own, err := p.CA(t.Context()); err != nil || !trusted(https, "leaflet.localhost", own) {
		t.Errorf("the local name is not served by the own authority: %v", err)
	}
	tide(t, p, "domains", "add", "--app", "leaflet", domain, "blocked.example.com", "*.leaflet.example.com")
	if shown(https) == nil {
		t.Error("nothing is served while the ACME server is asked")
	}
	story.Eventually(t, "a certificate", patience, func() bool { return trusted(https, domain, ca.issuers) })
	if c := certificateOf(t, p, domain); c.Source != "acme" || !strings.HasPrefix(c.Issuer, "Pebble") || c.Renewal.Before(time.Now().Add(59*24*time.Hour)) || c.Trouble != "" {
		t.Errorf("%+v", c)
	}
	story.Eventually(t, "the failure to be said", patience, func() bool {
		return strings.Contains(tide(t, p, "status"), "blocked.example.com: none could be obtained: the ACME server says rejectedIdentifier")
	})
	status := tide(t, p, "status")
	if !strings.Contains(status, "4 names, 2 to see to") || !strings.Contains(status, "*.leaflet.example.com: an ACME server gives one for a wildcard only by DNS") {
		t.Error(status)
	}
	var said []byte
	var err error
	story.Eventually(t, "the first attempt to be over", patience, func() bool { // which it is a moment after its failure is said
		said, err = p.Command(t.Context(), "certificates", "renew", "--app", "leaflet", "blocked.example.com").CombinedOutput()
		return !strings.Contains(string(said), "is under way")
	})
	if err == nil || !strings.Contains(string(said), "rejectedIdentifier") {
		t.Errorf("%v\n%s", err, said)
	}
	metrics := metricsOf(t, p)
	for _, line := range []string{
		`tide_certificate_failures_total{app="leaflet",environment="production",name="blocked.example.com"} 2`,
		`tide_certificate_not_after_seconds{app="leaflet",environment="production",name="leaflet.example.com"} `,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics have no %s", line)
		}
	}
	ownFile(t, p, https, ca)
}

func metricsOf(t *testing.T, p *platform.Platform) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "curl", "-sS", "--unix-socket", filepath.Join(p.Data, "run", "api.sock"), "http://tide/metrics").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(output)
}

// ownFile has the domain served with a certificate of somebody's own, and refuses
// what is worth nothing.
func ownFile(t *testing.T, p *platform.Platform, https string, ca *pebble) {
	t.Helper()
	authority, err := cert.OpenAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM())
	add := func(file string, names ...string) []string {
		made, err := authority.Certificate([]string{file})
		if err != nil {
			t.Fatal(err)
		}
		folder := t.TempDir()
		chain, key := filepath.Join(folder, "chain.pem"), filepath.Join(folder, "key.pem")
		for path, text := range map[string]string{chain: made.Chain, key: made.Key} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return append([]string{"certificates", "add", "--app", "leaflet", "--chain", chain, "--key", key}, names...)
	}
	tide(t, p, add(domain, domain)...)
	if !trusted(https, domain, roots) {
		t.Error("the file is not served when the command returns")
	}
	if said := refused(t, p, add("other.example.com", domain)...); !strings.Contains(said, "the certificate is not for leaflet.example.com") {
		t.Error(said)
	}
	if said := refused(t, p, add("other.example.com", "other.example.com")...); !strings.Contains(said, "tide domains add other.example.com") {
		t.Error(said)
	}
	if !trusted(https, domain, roots) {
		t.Error("the last good one is not served any more")
	}
	tide(t, p, "certificates", "rm", "--app", "leaflet", domain)
	if !trusted(https, domain, ca.issuers) {
		t.Error("the certificate of before is not served again")
	}
}

func TestACertificateIsObtainedByTLSAndRenewedThoughTheControlPlaneIsKilled(t *testing.T) {
	https, plain := story.Address(t), story.Address(t)
	const life = 50 * time.Second
	looking, look := gate(t, https) // for the challenge; it is there for as long as nobody has seen it
	ca := startPebble(t, pebbleOptions{http: story.Address(t), https: looking, life: life})
	p := serve(t, ca, https, plain)
	tide(t, p, "domains", "add", "--app", "leaflet", domain)
	table := filepath.Join(p.Data, "edge", "table.json")
	story.Eventually(t, "an edge that knows the challenge", patience, func() bool {
		text, err := os.ReadFile(table)
		return err == nil && bytes.Contains(text, []byte(`"challenges":[`))
	})
	kill(t, p)
	look()
	if shown(https) == nil {
		t.Error("nothing is served while the control plane is away")
	}
	story.Eventually(t, "a certificate", patience, func() bool { return trusted(https, domain, ca.issuers) })
	first := shown(https)
	kill(t, p)
	var second *x509.Certificate
	story.Eventually(t, "another certificate", patience, func() bool {
		second = shown(https)
		return second != nil && second.SerialNumber.Cmp(first.SerialNumber) != 0 && trusted(https, domain, ca.issuers)
	})
	if at := second.NotBefore.Sub(first.NotBefore); at < life/2 || at > life {
		t.Errorf("the second was made %s after the first, which lived for %s", at, life)
	}
}

// kill kills the control plane and waits for the next one.
func kill(t *testing.T, p *platform.Platform) {
	t.Helper()
	status, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(status.Processes.Control, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	story.Eventually(t, "the next control plane", patience, func() bool {
		next, err := p.Status(t.Context())
		return err == nil && next.Processes.Control != status.Processes.Control
	})
}

// accountKey is that of an account at the ACME server that has to be there first.
const accountKey = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"

func TestAServerThatWantsAnAccountOfOnesOwnSaysSo(t *testing.T) {
	https, plain := story.Address(t), story.Address(t)
	p := serve(t, startPebble(t, pebbleOptions{http: plain, https: story.Address(t), account: "ours", key: accountKey}), https, plain)
	tide(t, p, "domains", "add", "--app", "leaflet", domain)
	story.Eventually(t, "the failure to be said", patience, func() bool {
		return strings.Contains(tide(t, p, "status"), domain+": none could be obtained: the ACME server says externalAccountRequired")
	})
}

func TestAWildcardIsObtainedThroughAProgramThatKnowsDNS(t *testing.T) {
	https, plain := story.Address(t), story.Address(t)
	ca := startPebble(t, pebbleOptions{http: story.Address(t), https: story.Address(t), account: "ours", key: accountKey})
	key := filepath.Join(story.Folder(t), "eab.key")
	if err := os.WriteFile(key, []byte(accountKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hook := filepath.Join(story.Folder(t), "hook")
	script := `#!/bin/sh
case $1 in
	present) exec curl -fsS http://` + ca.dns + `/set-txt -d "{\"host\":\"$2.\",\"value\":\"$3\"}" ;;
	cleanup) exec curl -fsS http://` + ca.dns + `/clear-txt -d "{\"host\":\"$2.\"}" ;;
esac
`
	if err := os.WriteFile(hook, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	p := serve(t, ca, https, plain, "--acme-dns-hook", hook, "--acme-eab-kid", "ours", "--acme-eab-key", key)
	tide(t, p, "domains", "add", "--app", "leaflet", "*.leaflet.example.com")
	story.Eventually(t, "a certificate", patience, func() bool { return trusted(https, "any.leaflet.example.com", ca.issuers) })
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.issuers, ServerName: "any.leaflet.example.com"}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+https+"/healthz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "any.leaflet.example.com"
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the app answers %s", response.Status)
	}
}
