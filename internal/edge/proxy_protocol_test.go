package edge

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"
)

const (
	binaryIPv4  = proxySignature + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x12\x67\x01\xbb"
	binaryIPv6  = proxySignature + "\x21\x21\x00\x24\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x12\x67\x01\xbb"
	binaryExtra = proxySignature + "\x21\x11\x00\x13\xc0\x00\x02\x01\xc0\x00\x02\x02\x12\x67\x01\xbb\x04\x00\x04abcd"
	binaryLocal = proxySignature + "\x20\x00\x00\x00"
)

func TestAHeaderOfThePROXYProtocolSaysWhoTheClientIs(t *testing.T) {
	for header, want := range map[string]string{
		"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n":     "192.0.2.1:4711 to 192.0.2.2:443",
		"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n": "[2001:db8::1]:4711 to [2001:db8::2]:443",
		"PROXY UNKNOWN\r\n":                               "invalid AddrPort to invalid AddrPort",
		"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n":           "invalid AddrPort to invalid AddrPort",
		binaryIPv4:                                        "192.0.2.1:4711 to 192.0.2.2:443",
		binaryIPv6:                                        "[2001:db8::1]:4711 to [2001:db8::2]:443",
		binaryExtra:                                       "192.0.2.1:4711 to 192.0.2.2:443",
		binaryLocal:                                       "invalid AddrPort to invalid AddrPort",
		proxySignature + "\x21\x31\x00\x00":               "invalid AddrPort to invalid AddrPort", // a Unix socket
	} {
		from := strings.NewReader(header + "GET / HTTP/1.1\r\n")
		said, err := readProxyHeader(from)
		if got := said.client.String() + " to " + said.local.String(); err != nil || got != want {
			t.Errorf("%q says %s, %v, want %s", header, got, err, want)
		}
		if rest, _ := io.ReadAll(from); string(rest) != "GET / HTTP/1.1\r\n" {
			t.Errorf("%q: %q is left", header, rest)
		}
	}
}

func TestWhatIsNoHeaderOfThePROXYProtocolIsRefused(t *testing.T) {
	for _, header := range []string{
		"", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY", "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n", "PROXY TCP4 2001:db8::1 2001:db8::2 4711 443\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 4711 65536\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 04711 443\r\n",
		"PROXY TCP4  192.0.2.1 192.0.2.2 4711 443\r\n", "PROXY UDP4 192.0.2.1 192.0.2.2 4711 443\r\n",
		"PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n",
		proxySignature, proxySignature + "\x11\x11\x00\x0c" + strings.Repeat("x", 12), proxySignature + "\x22\x11\x00\x0c" + strings.Repeat("x", 12),
		proxySignature + "\x21\x41\x00\x0c" + strings.Repeat("x", 12), proxySignature + "\x21\x13\x00\x0c" + strings.Repeat("x", 12),
		proxySignature + "\x21\x11\x00\x0b" + strings.Repeat("x", 11), proxySignature + "\x21\x11\x00\x0cshort",
		proxySignature + "\x21\x11\x02\x09" + strings.Repeat("x", 521),
	} {
		if said, err := readProxyHeader(strings.NewReader(header)); err == nil {
			t.Errorf("%q says %+v", header, said)
		}
	}
}

func FuzzReadProxyHeader(f *testing.F) {
	for _, seed := range []string{"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\nGET", "PROXY UNKNOWN\r\n", binaryIPv4, binaryIPv6, binaryExtra, binaryLocal} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		from := bytes.NewReader(data)
		said, err := readProxyHeader(from)
		if used := len(data) - from.Len(); used > proxyHeaderLimit {
			t.Errorf("%d bytes are read", used)
		}
		if err != nil {
			return
		}
		if said.client.IsValid() != said.local.IsValid() || said.client.Addr().Is4In6() {
			t.Errorf("it says %+v", said)
		}
		if said.client.IsValid() && data[0] == 'P' {
			line, _, _ := bytes.Cut(data, []byte("\r\n"))
			words := strings.Fields(string(line))
			if address, err := netip.ParseAddr(words[2]); err != nil || address.Unmap() != said.client.Addr() {
				t.Errorf("%q says %+v", line, said)
			}
		}
	})
}
