package cert_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cert"
)

func openAuthority(t *testing.T, folder string) *cert.Authority {
	t.Helper()
	a, err := cert.OpenAuthority(folder)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func certificate(t *testing.T, a *cert.Authority, names ...string) springtide.Certificate {
	t.Helper()
	c, err := a.Certificate(names)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parse(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestAClientThatTrustsTheAuthorityTrustsItsCertificates(t *testing.T) {
	a := openAuthority(t, t.TempDir())
	c := certificate(t, a, "quiz.localhost", "127.0.0.1")
	pair, err := tls.X509KeyPair([]byte(c.Chain), []byte(c.Key))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.PEM())
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, server.Listener.Addr().String())
		},
	}}
	defer client.CloseIdleConnections()
	for host, trusted := range map[string]bool{"quiz.localhost": true, "127.0.0.1": true, "other.localhost": false} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err == nil {
			response.Body.Close()
		}
		if (err == nil) != trusted {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestTheAuthorityStaysTheSame(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "ca")
	first := openAuthority(t, folder)
	second := openAuthority(t, folder)
	if first.Fingerprint() != second.Fingerprint() || string(first.PEM()) != string(second.PEM()) {
		t.Error("it is another one when opened again")
	}
	if len(first.Fingerprint()) != 32*3-1 || !strings.HasPrefix(first.Name(), "Springtide on ") {
		t.Errorf("fingerprint %s, name %s", first.Fingerprint(), first.Name())
	}
	c := certificate(t, first, "quiz.localhost")
	if again := certificate(t, second, "QUIZ.localhost.", "quiz.localhost"); again.Chain != c.Chain {
		t.Error("the certificate of the same name is another one")
	}
	if other := certificate(t, second, "quiz.localhost", "blog.localhost"); other.Chain == c.Chain {
		t.Error("the certificate of other names is the same")
	}
}

func TestNobodyElseMayReadTheKeys(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "ca")
	certificate(t, openAuthority(t, folder), "quiz.localhost")
	leaves, err := filepath.Glob(filepath.Join(folder, "leaves", "*"))
	if err != nil || len(leaves) != 1 {
		t.Fatal(leaves, err)
	}
	for path, want := range map[string]os.FileMode{
		folder: 0o700, filepath.Join(folder, "ca.key"): 0o600, filepath.Join(folder, "ca.crt"): 0o644, leaves[0]: 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %s, want %s", path, info.Mode().Perm(), want)
		}
	}
}

func TestACertificateIsRenewedWhenAThirdOfItsLifeIsLeft(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := openAuthority(t, folder)
		first := certificate(t, a, "quiz.localhost")
		if life := time.Until(parse(t, first.Chain).NotAfter).Round(time.Minute); life != 90*24*time.Hour {
			t.Errorf("it lives for %s", life)
		}
		time.Sleep(60*24*time.Hour - time.Minute)
		if certificate(t, a, "quiz.localhost").Chain != first.Chain {
			t.Error("it was renewed too early")
		}
		time.Sleep(2 * time.Minute)
		renewed := certificate(t, a, "quiz.localhost")
		if renewed.Chain == first.Chain || renewed.Key == first.Key {
			t.Error("it was not renewed, or kept its key")
		}
		if again := certificate(t, openAuthority(t, folder), "quiz.localhost"); again.Chain != renewed.Chain {
			t.Error("the renewed one was not kept")
		}
	})
}

func TestExpiredCertificatesAreForgotten(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := openAuthority(t, folder)
		certificate(t, a, "gone.localhost")
		time.Sleep(100 * 24 * time.Hour)
		certificate(t, a, "quiz.localhost")
		leaves, err := filepath.Glob(filepath.Join(folder, "leaves", "*.pem"))
		if err != nil || len(leaves) != 1 {
			t.Errorf("left: %v %v", leaves, err)
		}
	})
}

func TestACertificateDoesNotOutliveItsAuthority(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := openAuthority(t, folder)
		time.Sleep((10*365 - 40) * 24 * time.Hour)
		c := parse(t, certificate(t, a, "quiz.localhost").Chain)
		if authority := parse(t, string(a.PEM())); c.NotAfter.After(authority.NotAfter) {
			t.Errorf("valid until %s, its authority until %s", c.NotAfter, authority.NotAfter)
		}
		time.Sleep(41 * 24 * time.Hour)
		_, err := cert.OpenAuthority(folder)
		if springtide.KindOf(err) != springtide.Failed || !strings.Contains(err.Error(), "expired") {
			t.Errorf("got %v", err)
		}
	})
}

func TestADamagedCacheIsMadeAgain(t *testing.T) {
	folder := t.TempDir()
	first := certificate(t, openAuthority(t, folder), "quiz.localhost")
	leaves, err := filepath.Glob(filepath.Join(folder, "leaves", "*.pem"))
	if err != nil || len(leaves) != 1 {
		t.Fatal(leaves, err)
	}
	for _, damage := range []string{"", "nonsense", first.Chain, first.Chain + "-----BEGIN PRIVATE KEY-----\n"} {
		if err := os.WriteFile(leaves[0], []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		c := certificate(t, openAuthority(t, folder), "quiz.localhost")
		if _, err := tls.X509KeyPair([]byte(c.Chain), []byte(c.Key)); err != nil {
			t.Errorf("after %q: %v", damage, err)
		}
	}
}

func TestACertificateOfAnotherAuthorityIsMadeAgain(t *testing.T) {
	folder := t.TempDir()
	certificate(t, openAuthority(t, folder), "quiz.localhost")
	for _, name := range []string{"ca.key", "ca.crt"} {
		if err := os.Remove(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	a := openAuthority(t, folder)
	c := parse(t, certificate(t, a, "quiz.localhost").Chain)
	if err := c.CheckSignatureFrom(parse(t, string(a.PEM()))); err != nil {
		t.Error(err)
	}
}

func TestAnAuthorityThatIsNotWholeIsRefused(t *testing.T) {
	for name, damage := range map[string]func(folder string) error{
		"the key is gone":         func(folder string) error { return os.Remove(filepath.Join(folder, "ca.key")) },
		"the key is damaged":      func(folder string) error { return os.WriteFile(filepath.Join(folder, "ca.key"), nil, 0o600) },
		"the certificate is":      func(folder string) error { return os.WriteFile(filepath.Join(folder, "ca.crt"), nil, 0o600) },
		"the key is of another":   func(folder string) error { return replaceKey(folder) },
		"the certificate is junk": func(folder string) error { return os.WriteFile(filepath.Join(folder, "ca.crt"), []byte("junk"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			openAuthority(t, folder)
			if err := damage(folder); err != nil {
				t.Fatal(err)
			}
			_, err := cert.OpenAuthority(folder)
			if springtide.KindOf(err) != springtide.Failed || !strings.Contains(err.Error(), folder) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func replaceKey(folder string) error {
	other := filepath.Join(folder, "other")
	if _, err := cert.OpenAuthority(other); err != nil {
		return err
	}
	return os.Rename(filepath.Join(other, "ca.key"), filepath.Join(folder, "ca.key"))
}

func TestAnAuthorityKilledBetweenItsFilesIsCompleted(t *testing.T) {
	folder := t.TempDir()
	openAuthority(t, folder)
	if err := os.Remove(filepath.Join(folder, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	certificate(t, openAuthority(t, folder), "quiz.localhost")
}

func TestNamesThatAreNoHostsAreRefused(t *testing.T) {
	a := openAuthority(t, t.TempDir())
	for _, names := range [][]string{nil, {""}, {"a b"}, {"../x"}, {"a..b"}, {"-a.b"}, {"*.*.a"}, {"ok.localhost", "http://x"}, {strings.Repeat("a.", 130) + "b"}} {
		if _, err := a.Certificate(names); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("%q: got %v", names, err)
		}
	}
	certificate(t, a, "*.quiz.localhost", "::1", "a_b.localhost")
}

func TestManyMayAskAtOnce(t *testing.T) {
	a := openAuthority(t, t.TempDir())
	want := certificate(t, a, "quiz.localhost").Chain
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				if c, err := a.Certificate([]string{"quiz.localhost"}); err != nil || c.Chain != want {
					t.Error(errors.Join(err, errors.New("another certificate")))
				}
			}
		})
	}
	group.Wait()
}
