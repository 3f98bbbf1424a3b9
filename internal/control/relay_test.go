package control

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide/internal/store"
)

// answering listens, and says a word on each connection until ctx ends.
func answering(t *testing.T, listener net.Listener, word string) {
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, word)
			conn.Close()
		}
	}()
}

func local(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func heard(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	word, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(word)
}

func TestWhoComesToOneThatFollowsIsPassedOnToTheOneThatLeads(t *testing.T) {
	leads, follows := local(t), local(t)
	answering(t, leads, "the leader")
	var away atomic.Bool
	r := newRelay(follows, func(ctx context.Context) (net.Conn, error) {
		if away.Load() {
			return nil, errors.New("nobody leads")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", leads.Addr().String())
	})
	answering(t, r, "a follower")
	ctx, cancel := context.WithCancel(t.Context())
	var all errgroup.Group
	all.Go(func() error { return r.Run(ctx) })
	if word := heard(t, follows.Addr().String()); word != "the leader" {
		t.Errorf("%q answered", word)
	}
	away.Store(true)
	if word := heard(t, follows.Addr().String()); word != "a follower" {
		t.Errorf("%q answered", word)
	}
	cancel()
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", follows.Addr().String()); err == nil {
		t.Error("it listens on")
	}
}

func TestNobodyIsPassedOnWhereNobodyLeadsOrOneselfDoes(t *testing.T) {
	f := &following{holder: "127.0.0.1/own"}
	for holder, want := range map[string]bool{"": false, "127.0.0.1/own": false, "127.0.0.1/other": true} {
		leads := local(t)
		answering(t, leads, "the leader")
		f.leader = store.Leader{Holder: holder}
		conn, err := f.onward(leads.Addr().String())(t.Context())
		if (err == nil) != want {
			t.Errorf("%q: %v", holder, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}
