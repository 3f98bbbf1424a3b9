package edge

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/springtide/springtide/internal/socket"
)

func FuzzTheNumberInAPacketIsThatOfItsEdge(f *testing.F) {
	f.Add(uint32(7), []byte{0x40, 1, 2})
	f.Add(uint32(1<<31), []byte{0xc0, 0, 0, 0, 1, 12})
	f.Add(uint32(0), []byte{})
	f.Fuzz(func(t *testing.T, n uint32, packet []byte) {
		numberIn(packet) // whatever it is
		number := edgeNumber(n)
		id, err := number.GenerateConnectionID()
		if err != nil || id.Len() != number.ConnectionIDLen() {
			t.Fatal(id, err)
		}
		short := append([]byte{0x40}, id.Bytes()...)
		long := append([]byte{0xc0, 0, 0, 0, 1, byte(id.Len())}, id.Bytes()...)
		for _, head := range [][]byte{short, long} {
			if got, ok := numberIn(append(head, packet...)); !ok || got != number {
				t.Errorf("%x: %x, %t", head, got, ok)
			}
			if _, ok := numberIn(head[:len(head)-1]); ok {
				t.Errorf("%x has a number though it is cut off", head[:len(head)-1])
			}
		}
	})
}

func FuzzWhatIsPassedOnArrivesAsItWas(f *testing.F) {
	f.Add([]byte("\x06\x00\x7f\x00\x00\x01\x35\x00rest"), "192.0.2.1:443", []byte("control"))
	f.Add([]byte{}, "[fe80::1%eth0]:1", []byte{})
	f.Fuzz(func(t *testing.T, packet []byte, from string, out []byte) {
		parseDatagram(packet) // whatever it is
		sender, err := netip.ParseAddrPort(from)
		if err != nil || len(packet) > 60_000 || len(out) > 255 || len(sender.Addr().Zone()) > 200 {
			return
		}
		p := datagram{net.UDPAddrFromAddrPort(sender), out, packet}
		framed := appendDatagram(nil, p)
		got, ok := parseDatagram(framed[2:])
		if !ok || got.from.AddrPort() != sender || !bytes.Equal(got.out, out) || !bytes.Equal(got.data, packet) {
			t.Errorf("%v became %v, %t", p, got, ok)
		}
	})
}

// shared is one of the sockets that share a UDP port, and what it reads.
type shared struct {
	*quicSocket
	links *quicLinks
	heard chan string
}

func share(t *testing.T, file *os.File, folder string) *shared {
	t.Helper()
	opened, err := newQUICSocket(copied(t, file))
	if err != nil {
		t.Fatal(err)
	}
	s := &shared{quicSocket: opened, heard: make(chan string, 100)}
	if s.links, err = linkQUIC(opened, folder); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		messages := make([]ipv4.Message, 4)
		for i := range messages {
			messages[i] = ipv4.Message{Buffers: [][]byte{make([]byte, 1500)}, OOB: make([]byte, 128)}
		}
		for {
			n, err := s.ReadBatch(messages, 0)
			if err != nil {
				return
			}
			for _, m := range messages[:n] {
				s.heard <- fmt.Sprintf("%s from %s", m.Buffers[0][connectionIDLength+1:m.N], m.Addr)
			}
		}
	}()
	t.Cleanup(func() {
		_ = s.SetReadDeadline(time.Now())
		<-ended
		s.links.close()
		s.Close()
	})
	return s
}

func (s *shared) hears(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-s.heard:
		if got != want {
			t.Errorf("it heard %q, want %q", got, want)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("it did not hear %q", want)
	}
}

// sharedPort gives a socket to share, and what a client says to an edge by it.
func sharedPort(t *testing.T) (file *os.File, say func(to edgeNumber, text string) string) {
	t.Helper()
	port, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	if file, err = port.(*net.UDPConn).File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	client, err := net.Dial("udp", port.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return file, func(to edgeNumber, text string) string {
		t.Helper()
		id, _ := to.GenerateConnectionID()
		if _, err := client.Write(append(append([]byte{0x40}, id.Bytes()...), text...)); err != nil {
			t.Fatal(err)
		}
		return text + " from " + client.LocalAddr().String()
	}
}

func TestAnEdgeThatHangsKeepsNoOtherFromWhatIsPassedOnToIt(t *testing.T) {
	folder := t.TempDir()
	file, say := sharedPort(t)
	elder := share(t, file, folder)
	hanging, err := socket.Listen(filepath.Join(folder, quicLinkPrefix+elder.LocalAddr().String()+"-00000000.sock")) // the first in the folder
	if err != nil {
		t.Fatal(err)
	}
	defer hanging.Close()
	youngest := share(t, file, folder)
	eventually(t, "the elder one to rest", elder.resting)
	elder.hears(t, say(elder.number, "the elder one's"))
	youngest.hears(t, say(youngest.number, "the youngest's"))
}

func TestTheYoungestEdgeReadsAndPassesOnWhatIsTheOthers(t *testing.T) {
	folder := t.TempDir()
	file, say := sharedPort(t)
	eldest := share(t, file, folder)
	eldest.hears(t, say(eldest.number, "alone"))
	elder, youngest := share(t, file, folder), share(t, file, folder)
	eventually(t, "the elder ones to rest", func() bool { return eldest.resting() && elder.resting() })
	for i := range 5 {
		eldest.hears(t, say(eldest.number, fmt.Sprint("eldest ", i)))
		youngest.hears(t, say(youngest.number, fmt.Sprint("youngest ", i)))
		elder.hears(t, say(elder.number, fmt.Sprint("elder ", i)))
	}
	youngest.hears(t, say(newEdgeNumber(), "a stranger's"))
	_ = youngest.SetReadDeadline(time.Now())
	youngest.links.close()
	eldest.hears(t, say(eldest.number, "by way of the elder"))
	elder.hears(t, say(newEdgeNumber(), "a stranger's"))
	_ = elder.SetReadDeadline(time.Now())
	elder.links.close()
	eldest.hears(t, say(newEdgeNumber(), "alone again"))
	if left, _ := filepath.Glob(filepath.Join(folder, "quic-*")); len(left) != 1 {
		t.Errorf("there are %v", left)
	}
}
