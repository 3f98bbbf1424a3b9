package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

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
	r := newRelay(follows, func(ctx context.Context) (net.Conn, context.Context, error) {
		if away.Load() {
			return nil, nil, errors.New("nobody leads")
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", leads.Addr().String())
		return conn, ctx, err
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
	if err := follows.(*net.TCPListener).SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("it listens on: %v", err)
	}
}

// patient connects although a busy machine may stop for all of onwardWithin.
func patient(to onward) onward {
	return func(ctx context.Context) (net.Conn, context.Context, error) {
		for {
			conn, lead, err := to(ctx)
			if late, ok := errors.AsType[net.Error](err); !ok || !late.Timeout() || ctx.Err() != nil {
				return conn, lead, err
			}
		}
	}
}

func TestNobodyIsPassedOnWhereNobodyLeadsOrOneselfDoes(t *testing.T) {
	f := &following{holder: "127.0.0.1/own", options: Options{Logger: slog.New(slog.DiscardHandler)}}
	for holder, want := range map[string]bool{"": false, "127.0.0.1/own": false, "127.0.0.1/other": true} {
		leads := local(t)
		answering(t, leads, "the leader")
		f.tell(store.Leader{Holder: holder}, nil)
		conn, _, err := patient(f.onward(leads.Addr().String()))(t.Context())
		if (err == nil) != want {
			t.Errorf("%q: %v", holder, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

// One whose machine is gone does not end its connections: they end when another leads.
func TestAConnectionThatWasPassedOnEndsWithTheLeadAndNotWithTheStore(t *testing.T) {
	leads, follows := local(t), local(t)
	defer leads.Close()
	f := &following{holder: "127.0.0.1/own", options: Options{Logger: slog.New(slog.DiscardHandler)}}
	f.tell(store.Leader{Holder: "127.0.0.1/first", Token: 1}, nil)
	r := newRelay(follows, patient(f.onward(leads.Addr().String())))
	var all errgroup.Group
	all.Go(func() error { return r.Run(t.Context()) })
	conn, err := net.Dial("tcp", follows.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	silent, err := leads.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()

	f.tell(store.Leader{}, errors.New("the store is away"))
	f.tell(store.Leader{Holder: "127.0.0.1/first", Token: 1, Beats: 2}, nil)
	if _, err := conn.Write([]byte{7}); err != nil {
		t.Fatal(err)
	}
	if read, err := silent.Read(make([]byte, 1)); read != 1 {
		t.Fatalf("what is sent does not arrive: %v", err)
	}
	f.tell(store.Leader{Holder: "127.0.0.1/second", Token: 2}, nil)
	if read, err := conn.Read(make([]byte, 1)); read != 0 || err == nil {
		t.Errorf("%d bytes and %v from one that leads no more", read, err)
	}
	r.Close()
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
}
