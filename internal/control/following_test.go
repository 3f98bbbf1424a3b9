package control

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/cert"
)

func TestOneThatFollowsIsKnownByTheAuthorityThatItWasBroughtAndByTheNamesOfTheOneThatLeads(t *testing.T) {
	var authorities [2]*cert.Authority
	for i := range authorities {
		var err error
		if authorities[i], err = cert.OpenAuthority(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	f := &following{options: Options{API: address}}
	f.options.Engine.RegistryHost = "tide.example.com:7443"
	f.learn(authorities[0])
	all, ctx := errgroup.WithContext(t.Context())
	server := api.New(api.Options{Platform: api.Platform{Environments: f, Observer: f, Machine: f}, Logger: slog.New(slog.DiscardHandler)})
	if err := f.serveElsewhere(ctx, all, server); err != nil {
		t.Fatal(err)
	}
	for i, authority := range authorities {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(authority.PEM())
		f.learn(authority)
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: "tide.example.com"})
		if err != nil {
			t.Fatalf("by authority %d: %v", i+1, err)
		}
		conn.Close()
	}
}
