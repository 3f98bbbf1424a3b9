package protection

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide/test/story"
)

// edgeAlone runs the binary as an edge on a route, and gives its address.
func edgeAlone(t *testing.T, route map[string]any, arguments ...string) string {
	t.Helper()
	large := make([]byte, 32<<20)
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			_, _ = w.Write(large)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	}))
	origin.Listener.Close()
	var err error
	if origin.Listener, err = (&net.ListenConfig{Control: thin}).Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	origin.Start()
	t.Cleanup(origin.Close)
	route["backends"] = []string{origin.Listener.Addr().String()}
	table, err := json.Marshal(map[string]any{"routes": []any{route}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "table.json")
	if err := os.WriteFile(path, table, 0o600); err != nil {
		t.Fatal(err)
	}
	address, _ := run(t, "http://", path, arguments...)
	return address
}

// attack is what a client does that takes a place and is as slow as it can be.
type attack struct {
	first, then string
	pause       time.Duration
}

// thin has a connection hold little that is on its way. The kernel has so much memory for
// that, for the whole machine: with none left it drops what others send.
func thin(_, _ string, raw syscall.RawConn) error {
	var err error
	controlErr := raw.Control(func(socket uintptr) {
		err = errors.Join(
			syscall.SetsockoptInt(int(socket), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1400),
			syscall.SetsockoptInt(int(socket), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<10),
			syscall.SetsockoptInt(int(socket), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 64<<10))
	})
	return errors.Join(controlErr, err)
}

// once does it on one connection, which counts as open meanwhile. It reports whether
// it was thrown out, and not told to end.
func (a attack) once(ctx context.Context, address string, open *atomic.Int64) (thrownOut bool) {
	conn, err := (&net.Dialer{Control: thin}).DialContext(ctx, "tcp", address)
	if err == nil {
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		defer conn.Close()
		_, err = io.WriteString(conn, a.first)
		open.Add(1)
		defer open.Add(-1)
	}
	for one := make([]byte, 1); ; {
		switch {
		case err != nil:
		case a.then == "":
			_, err = conn.Read(one)
		default:
			_, err = io.WriteString(conn, a.then)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(a.pause):
		}
		if err != nil {
			return true
		}
	}
}

// slow are those clients.
var slow = map[string]attack{
	"heads":   {"GET / HTTP/1.1\r\nHost: a\r\n", "X-A: b\r\n", 500 * time.Millisecond},
	"bodies":  {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", "x", 500 * time.Millisecond},
	"reading": {"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", "", 500 * time.Millisecond},
}

// The attack of 500 slow clients, while others are served.
func TestSlowClientsDoNotSlowOthersDown(t *testing.T) {
	const clients = 500
	for name, attack := range slow {
		t.Run(name, func(t *testing.T) {
			route := map[string]any{"concurrency": 40}
			if name == "reading" { // each has its answer begun, which takes a place at the instance
				route = map[string]any{}
			}
			address := edgeAlone(t, route)
			before := served(t, address)
			var open, thrownOut atomic.Int64
			ctx, stop := context.WithCancel(t.Context())
			var all sync.WaitGroup
			defer all.Wait()
			defer stop()
			began := time.Now()
			for range clients {
				all.Go(func() {
					for attack.once(ctx, address, &open) { // and comes back
						thrownOut.Add(1)
					}
				})
			}
			story.Eventually(t, "the slow clients to be there", time.Minute, func() bool { return open.Load() > clients*9/10 })
			during := served(t, address)
			took, left, gone := time.Since(began), open.Load(), thrownOut.Load() // before they are told to end
			stop()
			t.Logf("p99 of 500 requests: %s before, %s with %d slow clients, thrown out %d times", before, during, clients, gone)
			if left < clients/2 || gone > clients*int64(took/(9*time.Second)) { // the most impatient limit is 10 s
				t.Errorf("in %s slow clients were thrown out %d times, and %d were left: nothing was tried", took, gone, left)
			}
			if limit := max(20*before, 5*time.Second); during > limit { // not that of the slow, of 10 s or more
				t.Errorf("the p99 went from %s to %s", before, during)
			}
		})
	}
}

// served makes requests on connections of their own, and gives the p99.
func served(t *testing.T, address string) time.Duration {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	var took []time.Duration
	for range 500 {
		began := time.Now()
		response, err := client.Get("http://" + address + "/")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("the status is %d", response.StatusCode)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

func TestALimitCountsTheClientsThatAProxyNamesByItsProtocol(t *testing.T) {
	route := map[string]any{"rate_limits": []any{map[string]any{"requests": 2, "within": "1h"}}}
	address := edgeAlone(t, route, "--trusted-proxy", "127.0.0.0/8", "--proxy-protocol", "--max-connections-per-address", "5")
	ask := func(header string) (status int, body string) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(conn, header+"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.1\r\nConnection: close\r\n\r\n"); err != nil {
			return 0, ""
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return 0, ""
		}
		text, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(text)
	}
	binary := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x02\x7f\x00\x00\x01\x12\x67\x00\x50"
	for header, client := range map[string]string{"PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n": "192.0.2.1", binary: "192.0.2.2"} {
		for i := range 3 {
			status, body := ask(header)
			if i < 2 && (status != http.StatusOK || body != client) || i == 2 && status != http.StatusTooManyRequests {
				t.Errorf("%s, request %d: %d %q", client, i+1, status, body)
			}
		}
	}
	for _, nonsense := range []string{"", "PROXY TCP4 x y 1 2\r\n", strings.Repeat("P", 600)} {
		if status, _ := ask(nonsense); status != 0 {
			t.Errorf("%q: %d", nonsense, status)
		}
	}
	var held []net.Conn
	for i := range 6 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		held = append(held, conn)
		if _, err := fmt.Fprintf(conn, "PROXY TCP4 192.0.2.9 127.0.0.1 %d 80\r\n", 5000+i); err != nil {
			t.Fatal(err)
		}
	}
	closed := 0
	story.Eventually(t, "a connection too many to be closed", 20*time.Second, func() bool {
		closed = 0
		for _, conn := range held {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			if _, err := conn.Read(make([]byte, 1)); err != nil && !os.IsTimeout(err) {
				closed++
			}
		}
		return closed > 0
	})
	if closed != 1 {
		t.Errorf("%d of 6 connections were closed, of which 5 may be open", closed)
	}
}
