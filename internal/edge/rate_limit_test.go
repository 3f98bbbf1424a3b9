package edge

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

func perClient(requests int, within time.Duration, burst int) rateLimit {
	return newRateLimit("test", springtide.RateLimit{Match: "/*", Per: springtide.RatePerClient, Requests: requests, Within: within, Burst: burst})
}

func TestABucketGivesItsBurstAndThenOneTokenAnInterval(t *testing.T) {
	table, limit := newRateTable(), perClient(10, time.Minute, 3)
	b := bucket{of: limit.of, client: netip.MustParseAddr("192.0.2.1")}
	at := table.began.Add(time.Hour)
	for i := range 3 {
		if wait := table.take(b, &limit, at); wait != 0 {
			t.Fatalf("request %d of the burst waits %s", i+1, wait)
		}
	}
	if wait := table.take(b, &limit, at); wait != 6*time.Second {
		t.Errorf("the one after the burst waits %s, want 6s", wait)
	}
	if wait := table.take(b, &limit, at.Add(6*time.Second-1)); wait != 1 {
		t.Errorf("just before its time one waits %s", wait)
	}
	if wait := table.take(b, &limit, at.Add(6*time.Second)); wait != 0 {
		t.Errorf("at its time one waits %s", wait)
	}
	for range 3 {
		if wait := table.take(b, &limit, at.Add(time.Hour)); wait != 0 {
			t.Errorf("after an hour one waits %s", wait)
		}
	}
}

func TestABurstMayBeLongerThanAnybodyLives(t *testing.T) {
	table, limit := newRateTable(), perClient(1, springtide.MaxRateWithin, springtide.MaxRateRequests)
	for i := range 800 {
		if wait := table.take(bucket{of: limit.of}, &limit, table.began.Add(time.Hour)); wait != 0 {
			t.Fatalf("request %d of the burst waits %s", i+1, wait)
		}
	}
}

func TestAMillionAddressesTakeNoMoreMemoryAndHideNobody(t *testing.T) {
	table, limit := newRateTable(), perClient(100, time.Minute, 100)
	busy := bucket{of: limit.of, client: netip.MustParseAddr("192.0.2.1")}
	at := table.began.Add(time.Second)
	for table.take(busy, &limit, at) == 0 {
	}
	refused := 0
	for i := range uint32(1_000_000) {
		var address [4]byte
		binary.BigEndian.PutUint32(address[:], i)
		if table.take(bucket{of: limit.of, client: netip.AddrFrom4(address)}, &limit, at) != 0 {
			refused++
		}
	}
	if refused != 0 {
		t.Errorf("%d that ask once are refused", refused)
	}
	if table.take(busy, &limit, at) == 0 {
		t.Error("whoever has asked too much is forgotten")
	}
}

func TestALimitMatchesThePathHoweverItIsWritten(t *testing.T) {
	for _, c := range []struct {
		match, target string
		want          bool
	}{
		{"/login", "/login", true},
		{"/login", "/login?next=/", true},
		{"/login", "/%6cogin", true},
		{"/login", "//login", true},
		{"/login", "/a/../login", true},
		{"/login", "/login/", true},
		{"/login", "/logins", false},
		{"/login", "/", false},
		{"/api/*", "/api/v1", true},
		{"/api/*", "/api", true},
		{"/api/*", "/x/%2e%2e/api/v1", true},
		{"/api/*", "/apis", false},
		{"/*", "/anything", true},
	} {
		limit := newRateLimit("", springtide.RateLimit{Match: c.match, Per: springtide.RatePerRoute, Requests: 1, Within: time.Second, Burst: 1})
		if got := limit.matches(plainPath(c.target)); got != c.want {
			t.Errorf("%s matches %s: %v", c.match, c.target, got)
		}
	}
}

func TestATokenHasABucketOfItsOwnAndNoTokenThatOfTheClient(t *testing.T) {
	limit := newRateLimit("", springtide.RateLimit{Match: "/*", Per: springtide.RatePerToken, Header: "Authorization", Requests: 1, Within: time.Second, Burst: 1})
	of := func(address, authorization string) bucket {
		x := &exchange{address: address}
		if authorization != "" {
			x.request.Fields = message.Fields{{Name: "authorization", Value: authorization}}
		}
		return limit.bucket(x)
	}
	if of("192.0.2.1", "Bearer a") != of("192.0.2.2", "bearer  a") {
		t.Error("one token has two buckets")
	}
	if of("192.0.2.1", "Bearer a") == of("192.0.2.1", "Bearer b") {
		t.Error("two tokens have one bucket")
	}
	if of("192.0.2.1", "") == of("192.0.2.2", "") || of("2001:db8::1", "") != of("2001:db8::2", "") || of("2001:db8:0:1::1", "") == of("2001:db8::1", "") {
		t.Error("without a token it is not the client that counts: an address, or a /64")
	}
}

func BenchmarkTakeAToken(b *testing.B) {
	table, limit := newRateTable(), perClient(1_000_000_000, time.Second, 1)
	at := time.Now()
	for i := 0; b.Loop(); i++ {
		var address [4]byte
		binary.BigEndian.PutUint32(address[:], uint32(i))
		table.take(bucket{of: limit.of, client: netip.AddrFrom4(address)}, &limit, at)
	}
}
