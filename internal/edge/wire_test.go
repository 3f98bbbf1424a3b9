package edge

import (
	"bytes"
	"io"
	"net"
	"testing"
)

func TestTwoPiecesArriveInOrderHoweverLittleFitsAtOnce(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.(*net.TCPConn).SetWriteBuffer(4 << 10); err != nil { // not even the first fits
		t.Fatal(err)
	}
	w, err := newWire(server.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	first, second := bytes.Repeat([]byte("first "), 5<<10), bytes.Repeat([]byte("second "), 20<<10)
	done := make(chan error, 1)
	go func() {
		defer server.Close()
		n, err := w.writeBoth(first, second)
		if n != len(second) {
			t.Errorf("it has written %d bytes of the second, want %d", n, len(second))
		}
		done <- err
	}()
	got, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, append(first, second...)) {
		t.Errorf("%d bytes arrived that are not what was written", len(got))
	}
}
