package protection

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/springtide/springtide/test/story"
)

// flooder is a client over HTTP/2 that does not mean well.
type flooder struct {
	framer *http2.Framer
	// get is the head of a request, long a piece of one without end.
	get, long []byte
}

// floods are what it sends, again and again, with the next number of a stream.
var floods = map[string]func(f *flooder, stream uint32) error{
	"rapid reset": func(f *flooder, stream uint32) error {
		if err := f.ask(stream); err != nil {
			return err
		}
		return f.framer.WriteRSTStream(stream, http2.ErrCodeCancel)
	},
	"resets that the edge is made to send": func(f *flooder, stream uint32) error { // MadeYouReset
		if err := f.ask(stream); err != nil {
			return err
		}
		return f.framer.WriteRawFrame(http2.FrameWindowUpdate, 0, stream, make([]byte, 4))
	},
	"continuations": func(f *flooder, stream uint32) error {
		if stream == 1 {
			return f.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.get})
		}
		return f.framer.WriteContinuation(1, false, f.long)
	},
	"empty continuations": func(f *flooder, stream uint32) error {
		if stream == 1 {
			return f.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.get})
		}
		return f.framer.WriteContinuation(1, false, nil)
	},
	"empty data": func(f *flooder, stream uint32) error {
		if stream == 1 {
			return f.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.get, EndHeaders: true})
		}
		return f.framer.WriteData(1, false, nil)
	},
	"settings":       func(f *flooder, _ uint32) error { return f.framer.WriteSettings() },
	"pings":          func(f *flooder, _ uint32) error { return f.framer.WritePing(false, [8]byte{}) },
	"window updates": func(f *flooder, _ uint32) error { return f.framer.WriteWindowUpdate(0, 1) },
}

// nuisances are no floods, each by itself.
var nuisances = map[string]func(f *flooder, stream uint32) error{
	"handshakes": func(*flooder, uint32) error { return io.EOF },
	"answers that are not read": func(f *flooder, stream uint32) error {
		if stream > 99 {
			time.Sleep(10 * time.Millisecond)
			return f.framer.WriteWindowUpdate(0, 1)
		}
		return f.ask(stream)
	},
}

func (f *flooder) ask(stream uint32) error {
	return f.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.get, EndStream: true, EndHeaders: true})
}

// TestMain has the test's own binary be the client that floods, beside that which
// measures: FLOOD names what it sends, FLOOD_FROM as whom, FLOOD_ADDRESS whom to.
func TestMain(m *testing.M) {
	send := floods[os.Getenv("FLOOD")]
	if send == nil {
		send = nuisances[os.Getenv("FLOOD")]
	}
	if send == nil {
		os.Exit(m.Run())
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test is done
		cancel()
	}()
	var flooders sync.WaitGroup
	var waves, connections, refused atomic.Int64
	begun := sync.OnceFunc(func() { fmt.Println("it has begun") })
	for range 8 {
		flooders.Go(func() {
			for ctx.Err() == nil {
				sent, err := flood(ctx, os.Getenv("FLOOD_ADDRESS"), os.Getenv("FLOOD_FROM"), "example.com", send, begun)
				waves.Add(sent)
				if connections.Add(1); err != nil {
					refused.Add(1)
				}
				begun()
				select {
				case <-ctx.Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
	flooders.Wait()
	fmt.Printf("%d waves on %d connections and %d that were refused\n", waves.Load(), connections.Load()-refused.Load(), refused.Load())
}

// A client floods over 8 connections, and comes back as soon as it is thrown out: soon it is
// refused, and everybody else is answered. With FLOODS=full each attack lasts 10 s, and the
// p99 of the others is judged beside that of the 10 s before, which takes a machine with
// nothing else to do.
func TestFloodsKeepNobodyElseFromBeingServed(t *testing.T) {
	length, full := 500*time.Millisecond, os.Getenv("FLOODS") == "full"
	if full {
		length = 10 * time.Second
	}
	e := edgeWithTLS(t)
	attacker := 100
	for _, kind := range slices.Concat(slices.Sorted(maps.Keys(floods)), slices.Sorted(maps.Keys(nuisances))) {
		attacker++
		from := "192.0.2." + strconv.Itoa(attacker)
		t.Run(kind, func(t *testing.T) {
			quiet := e.others(t, "192.0.2.1", length)
			neighbor := e.client(from, false) // has a connection before, at the same address
			defer neighbor.CloseIdleConnections()
			if _, err := request(neighbor, "https://"+e.address+"/"); err != nil {
				t.Fatal(err)
			}
			flooder := exec.CommandContext(t.Context(), os.Args[0])
			if full { // as if it took no time of this machine's; on a busy one it would get none
				flooder = exec.CommandContext(t.Context(), "chrt", "--idle", "0", os.Args[0])
			}
			flooder.Env = append(os.Environ(), "FLOOD="+kind, "FLOOD_ADDRESS="+e.address, "FLOOD_FROM="+from)
			flooder.Stderr = os.Stderr
			end, noInput := flooder.StdinPipe()
			output, noOutput := flooder.StdoutPipe()
			if err := errors.Join(noInput, noOutput, flooder.Start()); err != nil {
				t.Fatal(err)
			}
			says := bufio.NewReader(output)
			if _, err := says.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			during := e.others(t, "192.0.2.1", length)
			if floods[kind] != nil {
				story.Eventually(t, "the client who floods to be refused", 30*time.Second, func() bool {
					return e.ask(from) != nil
				})
				if err := e.ask("192.0.2.1"); err != nil {
					t.Errorf("another is, too: %v", err)
				}
			}
			if _, err := request(neighbor, "https://"+e.address+"/"); err != nil {
				t.Errorf("who was there before at the same address: %v", err)
			}
			end.Close()
			sent, err := io.ReadAll(says)
			if err := errors.Join(err, flooder.Wait()); err != nil {
				t.Error(err)
			}
			t.Logf("%s, and before the flood: %s; the flooder sent %s", during, quiet, bytes.TrimSpace(sent))
			if full && during.p99 > 2*quiet.p99 {
				t.Errorf("the p99 went from %s to %s", quiet.p99, during.p99)
			}
		})
	}
}

// dial connects as a client whom a proxy names, by version 2 of the PROXY protocol.
func dial(ctx context.Context, address, from string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	client, local := netip.MustParseAddr(from).As4(), netip.MustParseAddr("192.0.2.200").As4()
	header := slices.Concat([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"), client[:], local[:], []byte{18, 103, 1, 187})
	if _, err := conn.Write(header); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// flood sends waves to a host on one connection until it is thrown out, and gives how many.
// If it is not let in at all there is an error.
func flood(ctx context.Context, address, from, host string, wave func(*flooder, uint32) error, begun func()) (waves int64, err error) {
	plain, err := dial(ctx, address, from)
	if err != nil {
		return 0, err
	}
	conn := tls.Client(plain, &tls.Config{ServerName: host, InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	stop := context.AfterFunc(ctx, func() { plain.Close() })
	defer stop()
	defer plain.Close()
	if err := conn.HandshakeContext(ctx); err != nil {
		return 0, err
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }() // what the edge says is not what matters
	var block strings.Builder
	coder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", host}, {":path", "/large"}} {
		_ = coder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	f := &flooder{framer: http2.NewFramer(conn, nil), get: []byte(block.String())}
	block.Reset()
	_ = coder.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 4<<10), Sensitive: true})
	f.long = []byte(block.String())
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil || f.framer.WriteSettings() != nil {
		return 0, nil
	}
	for stream := uint32(1); stream < 1<<30 && wave(f, stream) == nil; stream += 2 {
		if waves++; waves == 100 {
			begun()
		}
	}
	return waves, nil
}

// service is what clients had of the edge, and it of the processors.
type service struct {
	requests int
	p99      time.Duration
	// busy is how much of one processor the edge used.
	busy float64
}

func (s service) String() string {
	return fmt.Sprintf("p99 %s of %d requests, the edge used %.0f%% of a processor", s.p99.Round(10*time.Microsecond), s.requests, 100*s.busy)
}

// securedEdge is the binary as an edge, and how it is reached.
type securedEdge struct {
	address string
	trust   *x509.CertPool
	process int
}

func (e *securedEdge) client(from string, both bool) *http.Client {
	return &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: e.trust, ServerName: "example.com"}, ForceAttemptHTTP2: both,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return dial(ctx, address, from) },
	}}
}

// ask makes one request on a connection of its own.
func (e *securedEdge) ask(from string) error {
	client := e.client(from, false)
	defer client.CloseIdleConnections()
	_, err := request(client, "https://"+e.address+"/")
	return err
}

// request gives how long it took.
func request(client *http.Client, url string) (time.Duration, error) {
	began := time.Now()
	response, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusOK {
		return 0, errors.New(response.Status)
	}
	return time.Since(began), nil
}

// others has two clients that mean well ask 100 times a second each.
func (e *securedEdge) others(t *testing.T, from string, length time.Duration) service {
	t.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var asking sync.WaitGroup
	began, used := time.Now(), processorTime(t, e.process)
	for _, both := range []bool{true, false} {
		client := e.client(from, both)
		t.Cleanup(client.CloseIdleConnections)
		asking.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			var all sync.WaitGroup
			for end := time.Now().Add(length); time.Now().Before(end); <-tick.C {
				all.Go(func() {
					one, err := request(client, "https://"+e.address+"/")
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					took = append(took, one)
				})
			}
			all.Wait()
		})
	}
	asking.Wait()
	slices.Sort(took)
	if len(took) == 0 {
		t.Fatal("nobody was answered")
	}
	return service{len(took), took[len(took)*99/100], float64(processorTime(t, e.process)-used) / float64(time.Since(began))}
}

// processorTime gives how much time of processors a process has used.
func processorTime(t *testing.T, process int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks time.Duration
	for _, field := range fields[11:13] { // in user mode, and in the kernel
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// edgeWithTLS runs the binary as an edge with a certificate for example.com, behind a proxy.
func edgeWithTLS(t *testing.T) *securedEdge {
	t.Helper()
	origin := httptest.NewTLSServer(nil) // for its certificate
	origin.Close()
	pair := origin.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, block := range map[string]*pem.Block{"chain.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust := x509.NewCertPool()
	trust.AddCert(origin.Certificate())
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			_, _ = w.Write(make([]byte, 1<<20))
			return
		}
		_, _ = io.WriteString(w, "fine")
	}))
	t.Cleanup(backend.Close)
	table, err := json.Marshal(map[string]any{
		"routes":       []any{map[string]any{"backends": []string{backend.Listener.Addr().String()}}},
		"certificates": []any{map[string]string{"chain": "chain.pem", "key": "key.pem"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "table.json")
	if err := os.WriteFile(path, table, 0o600); err != nil {
		t.Fatal(err)
	}
	address, process := run(t, "https://", path, "--trusted-proxy", "127.0.0.0/8", "--proxy-protocol")
	return &securedEdge{address, trust, process}
}

// run runs the binary as an edge on a table, and gives its address when it listens.
func run(t *testing.T, scheme, table string, arguments ...string) (address string, process int) {
	t.Helper()
	address = story.Address(t)
	command := exec.Command(story.Binary(t), append([]string{"edge", "--table", table, "--listen", scheme + address}, arguments...)...)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGQUIT)
		if err := command.Wait(); err != nil {
			t.Errorf("the edge ended with %v", err)
		}
	})
	story.Eventually(t, "the edge to listen", 30*time.Second, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return address, command.Process.Pid
}
