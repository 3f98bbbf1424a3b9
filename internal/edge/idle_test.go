//go:build !race

package edge

import (
	"net"
	"runtime"
	"testing"
)

func TestAnIdleConnectionIsSmall(t *testing.T) {
	address := startPlain(t, rawOrigin(t, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"))
	measure := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	const connections = 500
	open := make([]*net.TCPConn, 0, connections) // theirs, of which the Go side is measured too
	for range connections {
		conn, answers := talk(t, address, "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\n")
		heard(t, answers)
		open = append(open, conn)
	}
	with := measure()
	for _, conn := range open {
		conn.Close()
	}
	clear(open)
	var without uint64
	eventually(t, "the memory to be free", func() bool { without = measure(); return without+connections*1000 < with })
	each := int64(with-without) / connections
	t.Logf("%d bytes for each, with 4 KiB of the client's buffer", each)
	if each > 4096+12<<10 {
		t.Errorf("an idle connection takes %d bytes", each)
	}
}
