package control

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/internal/store"
)

func TestOneThatFollowsIsKnownByTheAuthorityThatItWasBroughtAndByTheNamesOfTheOneThatLeads(t *testing.T) {
	var authorities [2]*cert.Authority
	for i := range authorities {
		var err error
		if authorities[i], err = cert.OpenAuthority(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	kept := local(t) // its port is nobody else's, at another address
	defer kept.Close()
	_, port, err := net.SplitHostPort(kept.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.2:" + port
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

// anyToken takes each token for a known one.
type anyToken struct{ api.TokenStore }

func (anyToken) TokenByHash(_ context.Context, hash [32]byte) (api.Token, error) {
	return api.Token{Name: "me", Hash: hash, LastUsed: time.Now()}, nil
}

// A connection is passed on when it comes, or never: one that was refused is not kept.
func TestWhoWasRefusedWhileNobodyLedIsPassedOnWhenSomebodyDoes(t *testing.T) {
	authority, err := cert.OpenAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	leads := local(t)
	_, port, err := net.SplitHostPort(leads.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	all, ctx := errgroup.WithContext(t.Context())
	refusing := func(available func(*http.Request) error) *api.Server {
		return api.New(api.Options{Platform: api.Platform{Tokens: anyToken{}}, Logger: slog.New(slog.DiscardHandler), Available: available})
	}
	config, err := apiTLS(authority, "127.0.0.2:"+port) // as clients call it
	if err != nil {
		t.Fatal(err)
	}
	leader := refusing(func(*http.Request) error { return springtide.Errorf(springtide.Unavailable, "the leader is asked") })
	all.Go(func() error { return leader.ServeTokens(ctx, leads, config) })

	// The leader has the same port at another address, as on machines of their own.
	f := &following{options: Options{API: "127.0.0.2:" + port, Advertise: "127.0.0.2"}, holder: "127.0.0.2/own"}
	f.options.Logger = slog.New(slog.DiscardHandler)
	f.learn(authority)
	if err := f.serveElsewhere(ctx, all, refusing(f.available)); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{URL: "https://" + f.options.API, Token: "tide_any", CA: string(authority.PEM())})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, told := range []struct{ leader, want string }{{"", "waits for its turn"}, {"127.0.0.1/other", "the leader is asked"}} {
		f.tell(store.Leader{Holder: told.leader}, nil)
		for deadline := time.Now().Add(time.Minute); ; { // a busy machine may stop for onwardWithin
			_, err := c.Restart(t.Context(), quiz)
			if err != nil && strings.Contains(err.Error(), told.want) {
				break
			}
			if err == nil || told.leader == "" || time.Now().After(deadline) {
				t.Fatalf("%q leads: %v", told.leader, err)
			}
		}
	}
}
