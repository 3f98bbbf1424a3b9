package edge

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

// startPlain starts an edge without TLS that sends every request to a backend.
func startPlain(t testing.TB, backends ...string) (address string) {
	t.Helper()
	return startAlone(t, staticRoute{Backends: backends})
}

// startAlone starts an edge without TLS that has one route.
func startAlone(t testing.TB, route staticRoute) (address string) {
	t.Helper()
	return startAt(t, "http", route)
}

// startAt starts an edge that has one route, for a scheme.
func startAt(t testing.TB, scheme string, route staticRoute) (address string) {
	t.Helper()
	listeners, err := Listen([]string{scheme + "://127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	accepting, err := net.FileListener(listeners[0].File)
	if err != nil {
		t.Fatal(err)
	}
	defer accepting.Close()
	table, err := staticTable{Routes: []staticRoute{route}}.table("")
	if err != nil {
		t.Fatal(err)
	}
	table.Version, table.Certificates = 1, []springtide.Certificate{testCertificate(t)}
	tables := make(chan springtide.Table, 1)
	tables <- table
	options := Options{Tables: tables, Listeners: listeners, DataFolder: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := Run(ctx, options); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return accepting.Addr().String()
}

// rawOrigin answers every request with the same bytes.
func rawOrigin(t testing.TB, answer string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer, out := make([]byte, 4096), []byte(answer)
				for {
					if _, err := conn.Read(buffer); err != nil {
						return
					}
					if _, err := conn.Write(out); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func BenchmarkProxiedRequest(b *testing.B) {
	address := startPlain(b, rawOrigin(b, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n"+strings.Repeat("x", 1024)))
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	request := []byte("GET /x?y=z HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	body := make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		conn.Write(request)
		for {
			line, err := reader.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if len(line) == 2 {
				break
			}
		}
		if _, err := io.ReadFull(reader, body); err != nil {
			b.Fatal(err)
		}
	}
}
