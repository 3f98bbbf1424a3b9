package edge

import (
	"bufio"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func TestAFifthOfTheRequestsMayBeRepeatedAndAFew(t *testing.T) {
	var b retryBudget
	now := time.Unix(1_700_000_000, 0)
	for second := range 60 {
		now = now.Add(time.Second)
		for range 100 {
			b.arrived(now)
		}
		granted := 0
		for b.take(now) {
			granted++
		}
		if second > 2*budgetSeconds && (granted > 30+budgetReserve || b.repeated > budgetReserve+b.asked/budgetShare) {
			t.Fatalf("second %d: %d of 100 could be repeated, %d of %d in sum", second, granted, b.repeated, b.asked)
		}
	}
	if b.asked != budgetSeconds*100 || b.repeated != budgetReserve+b.asked/budgetShare {
		t.Errorf("%d of the last %d were repeated", b.repeated, b.asked)
	}
	if b.room(now.Add(time.Hour)); b.asked != 0 || b.repeated != 0 {
		t.Errorf("an hour later %d and %d still count", b.asked, b.repeated)
	}
	b.take(now.Add(time.Hour))
	if !b.take(now) || b.repeated != 1 {
		t.Errorf("when the clock was put back %d counted", b.repeated)
	}
}

func TestRepeatingEndsWithItsBudget(t *testing.T) {
	e := startEdge(t)
	var tries atomic.Int64
	hangUp := func(_ net.Conn, requests *bufio.Reader) {
		if _, err := http.ReadRequest(requests); err == nil {
			tries.Add(1)
		}
	}
	e.route(t, routeTo(rawInstance(t, "web-1-a", hangUp), rawInstance(t, "web-1-b", hangUp)))
	client := e.client(t, false)
	const requests = 200
	began := time.Now()
	for range requests {
		if response, body := get(t, client, "/"); response.StatusCode != http.StatusBadGateway {
			t.Fatalf("got %d %q", response.StatusCode, body)
		}
	}
	reserves := budgetReserve * (1 + int64(time.Since(began)/(budgetSeconds*time.Second)))
	if n := tries.Load() - requests; n < budgetReserve || n > reserves+2*requests/budgetShare {
		t.Errorf("of %d requests that failed %d were repeated", requests, n)
	}
}
