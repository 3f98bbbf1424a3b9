package mail

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/springtide/springtide/internal/jobs"
)

// authority makes a certificate for mail.example, and the pool to check it with.
func authority(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"mail.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}, pool
}

// named makes a sender whose every name leads to the address.
func named(t *testing.T, url, address string, roots *x509.CertPool) *Sender {
	sender := senderTo(t, url, func(o *Options) { o.Roots = roots })
	sender.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return sender
}

func checkPassword(user, password string) error {
	if user != "me" || password != "p@ss:/" {
		return smtp.ErrAuthFailed
	}
	return nil
}

func TestAPasswordGoesThroughTLSOnly(t *testing.T) {
	config, roots := authority(t)
	secure := startRemote(t, func(s *smtp.Server) { s.TLSConfig, s.AllowInsecureAuth = config, false })
	secure.auth = checkPassword
	plain := startRemote(t, nil)
	plain.auth = func(string, string) error {
		t.Error("a password went out in the clear")
		return errors.New("no")
	}
	for _, c := range []struct {
		what, url, address string
		roots              *x509.CertPool
		want               string
	}{
		{"over to TLS", "smtp://me:p%40ss%3A%2F@mail.example", secure.address, roots, ""},
		{"no TLS", "smtp://me:p%40ss%3A%2F@mail.example", plain.address, roots, "STARTTLS"},
		{"without a password no TLS is good enough", "smtp://mail.example", plain.address, roots, ""},
		{"an unknown authority", "smtp://me:p%40ss%3A%2F@mail.example", secure.address, x509.NewCertPool(), "certificate"},
		{"another name", "smtp://me:p%40ss%3A%2F@other.example", secure.address, roots, "certificate"},
		{"a wrong password", "smtp://me:wrong@mail.example", secure.address, roots, "535"},
	} {
		outcome := named(t, c.url, c.address, c.roots).Execute(t.Context(), runOf(t, hello("a@example.com")))
		if good := outcome.Verdict == jobs.Succeeded; good != (c.want == "") || outcome.Final || !strings.Contains(outcome.Reason, c.want) || strings.Contains(outcome.Reason, "wrong") {
			t.Errorf("%s: %+v", c.what, outcome)
		}
	}
	if mails := secure.mails(); len(mails) != 1 || mails[0].user != "me" {
		t.Errorf("%+v", mails)
	}
}

func TestTLSFromTheStartIsSmtps(t *testing.T) {
	config, roots := authority(t)
	inner := startRemote(t, nil) // the proxy below has the TLS
	inner.auth = checkPassword
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &remoteSession{remote: inner}, nil }))
	server.AllowInsecureAuth = true
	go server.Serve(listener)
	defer server.Close()
	sender := named(t, "smtps://me:p%40ss%3A%2F@mail.example", listener.Addr().String(), roots)
	if outcome := sender.Execute(t.Context(), runOf(t, hello("a@example.com"))); outcome.Verdict != jobs.Succeeded {
		t.Errorf("%+v", outcome)
	}
	if mails := inner.mails(); len(mails) != 1 || mails[0].user != "me" {
		t.Errorf("%+v", mails)
	}
}

func FuzzServer(f *testing.F) {
	for _, seed := range []string{"smtp://u:p@h:587", "smtps://h", "smtp://[::1]:25", "smtp://u:s%ecret@h", "smtp:h"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if to, err := parseServer(text); err == nil && (to.host == "" || to.port == "") {
			t.Errorf("%q leads to %q, %q", text, to.host, to.port)
		}
	})
}
