package edge

import (
	"bufio"
	"net"
	"strings"
	"testing"
)

func BenchmarkCacheHit(b *testing.B) {
	origin := rawOrigin(b, "HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\nCache-Control: max-age=31536000\r\nContent-Type: application/octet-stream\r\nContent-Length: 10240\r\n\r\n"+strings.Repeat("x", 10240))
	conn, err := net.Dial("tcp", startAlone(b, staticRoute{Backends: []string{origin}, Cache: []staticCacheRule{{Match: "*"}}}))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 32<<10)
	request := []byte("GET /x?y=z HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
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
		if _, err := reader.Discard(10240); err != nil {
			b.Fatal(err)
		}
	}
}
