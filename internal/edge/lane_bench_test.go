package edge

import (
	"bytes"
	"crypto/tls"
	"io"
	"strings"
	"testing"

	wire2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// BenchmarkProxiedStream has sixteen streams at a time over one connection.
func BenchmarkProxiedStream(b *testing.B) {
	origin := rawOrigin(b, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n"+strings.Repeat("x", 1024))
	address := startAt(b, "https", staticRoute{Backends: []string{origin}})
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: testHost, NextProtos: []string{"h2"}})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	head := func() []byte {
		block.Reset()
		for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", testHost}, {":path", "/x?y=z"}, {"user-agent", "bench"}, {"accept", "*/*"}} {
			encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		return block.Bytes()
	}
	var out bytes.Buffer
	writer, reader := wire2.NewFramer(&out, nil), wire2.NewFramer(io.Discard, conn)
	reader.SetReuseFrames()
	out.WriteString(wire2.ClientPreface)
	writer.WriteSettings(wire2.Setting{ID: wire2.SettingInitialWindowSize, Val: 1 << 30})
	writer.WriteWindowUpdate(0, 1<<30)
	const streams = 16
	left, id, ended := b.N, uint32(1), 0
	ask := func(n int) {
		for ; n > 0 && left > 0; n-- {
			writer.WriteHeaders(wire2.HeadersFrameParam{StreamID: id, BlockFragment: head(), EndStream: true, EndHeaders: true})
			id += 2
			left--
		}
		conn.Write(out.Bytes())
		out.Reset()
	}
	b.ReportAllocs()
	b.ResetTimer()
	ask(streams)
	for ended < b.N {
		frame, err := reader.ReadFrame()
		if err != nil {
			b.Fatal(err)
		}
		switch f := frame.(type) {
		case *wire2.DataFrame:
			if f.StreamEnded() {
				if ended++; ended%streams == 0 {
					writer.WriteWindowUpdate(0, streams*1024)
					ask(streams)
				}
			}
		case *wire2.GoAwayFrame, *wire2.RSTStreamFrame:
			b.Fatal(frame)
		}
	}
}
