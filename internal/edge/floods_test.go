package edge

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/springtide/springtide"
)

func floodsFor(longest time.Duration) (*floods, *caps) {
	f := newFloods(longest, slog.New(slog.DiscardHandler))
	return f, newCaps(1000, f)
}

func TestWhoFloodsIsRefusedForSecondsAndLongerIfHeGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := floodsFor(30 * time.Second)
		who, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		time.Sleep(time.Second) // at the very beginning the time counts as a nanosecond
		for _, step := range []struct {
			floods      int
			after, free time.Duration // is refused after the first, and no more after the second
		}{
			{2, -1, 0},
			{1, 1999 * time.Millisecond, 2 * time.Second},
			{1, 3999 * time.Millisecond, 4 * time.Second},
			{1000, 29 * time.Second, 30 * time.Second},
			{1, 3 * time.Second, 14 * time.Second}, // which pays all of it
			{2, -1, 0},
		} {
			for range step.floods {
				f.owes(who, floodDebt)
			}
			if step.after >= 0 {
				time.Sleep(step.after)
				if !f.refuses(who) || f.refuses(other) {
					t.Errorf("after %d floods and %s he is refused: %t, another: %t", step.floods, step.after, f.refuses(who), f.refuses(other))
				}
				time.Sleep(step.free - step.after)
			}
			if f.refuses(who) {
				t.Errorf("%s after %d floods he is refused", step.free, step.floods)
			}
		}
	})
}

func TestWhoFloodsStaysKnownHoweverManyOwe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := floodsFor(30 * time.Second)
		who := netip.MustParseAddr("192.0.2.1")
		for range 3 {
			f.owes(who, floodDebt)
		}
		for i := range uint32(400_000) { // more than there are places
			f.owes(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, i))), idleDebt)
		}
		if !f.refuses(who) {
			t.Error("he is forgotten")
		}
	})
}

func TestNobodyIsRefusedWhereNobodyIsToBe(t *testing.T) {
	f, guests := floodsFor(0)
	g, _ := guests.enter(netip.MustParseAddr("192.0.2.1"))
	if g.Owes(1000, 0, 0) || f.refuses(g.client) {
		t.Error("he is refused")
	}
	if got := f.counts(); got != (springtide.FloodCounts{Ended: 1000}) {
		t.Errorf("%+v", got)
	}
}

func TestConnectionsOnWhichNothingIsAskedForAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, guests := floodsFor(30 * time.Second)
		for _, asked := range []bool{true, false} {
			for i := range 201 {
				g, ok := guests.enter(netip.MustParseAddr("192.0.2.1"))
				if !ok {
					t.Fatalf("number %d is refused", i+1)
				}
				(&visitor{guest: g, asked: asked}).account()
				g.leave()
			}
			if _, ok := guests.enter(netip.MustParseAddr("192.0.2.1")); ok != asked {
				t.Errorf("after 201 with a request (%t) another is let in: %t", asked, ok)
			}
		}
		if f.refused.Load() != 1 {
			t.Errorf("%d are counted", f.refused.Load())
		}
	})
}

func TestAClientHasSoManyStreamsOnAllItsConnections(t *testing.T) {
	_, guests := floodsFor(time.Second)
	first, _ := guests.enter(netip.MustParseAddr("192.0.2.1"))
	second, _ := guests.enter(netip.MustParseAddr("192.0.2.1"))
	first.Streams(3000)
	if first.Streams(0) || second.Streams(1999) || !second.Streams(1) || !first.Streams(0) || first.Streams(-1) {
		t.Errorf("with %d", first.streams.Load())
	}
}

func TestAClientWhoComesBackToFloodIsRefusedBeforeTLSAndNobodyElse(t *testing.T) {
	e := protected(t, springtide.Route{}, plainly, behindProxy, func(o *Options) { o.RefuseFloods = 30 * time.Second })
	if _, err := e.proxied(t, "192.0.2.1"); err != nil { // says nothing, and keeps no other handshake from being computed
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for ended := 0; ; ended++ {
		conn, err := e.fromProxy(t, "192.0.2.1", "h2")
		if err != nil {
			if ended < 2 {
				t.Fatalf("flood %d: %v", ended+1, err)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %d floods he is let in", ended)
		}
		framer := http2.NewFramer(conn, conn)
		_, err = conn.Write([]byte(http2.ClientPreface))
		for err == nil {
			err = framer.WriteSettings()
		}
		conn.Close()
	}
	if _, err := e.fromProxy(t, "192.0.2.2"); err != nil {
		t.Errorf("another is refused: %v", err)
	}
	e.control.await(t, "it to be told", func(reports []springtide.EdgeReport) bool {
		last := reports[len(reports)-1].Floods
		return last.Ended >= 3 && last.Refused >= 1
	})
}
