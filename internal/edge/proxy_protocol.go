package edge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol, versions 1 and 2, as HAProxy's proxy-protocol.txt has it. It
// is read here and not by a library since those read by way of a buffer of their
// own, which would stay between the connection and the kernel.
const (
	proxyTextLimit   = 107 // bytes of a header of version 1
	proxyHeaderLimit = 536 // of version 2: more would not fit into any first segment
	proxySignature   = "\r\n\r\n\x00\r\nQUIT\n"
)

var errNoProxyHeader = errors.New("the connection does not begin with a header of the PROXY protocol")

// proxied is what a header says: who the client is, and which address it wanted.
// Both are zero if the proxy speaks for itself, as in a health check.
type proxied struct {
	client, local netip.AddrPort
}

// readProxyHeader reads the header, and not a byte more.
func readProxyHeader(from io.Reader) (proxied, error) {
	var buffer [proxyHeaderLimit]byte
	start := buffer[:len(proxySignature)]
	if _, err := io.ReadFull(from, start); err != nil {
		return proxied{}, err
	}
	switch {
	case string(start) == proxySignature:
		return readProxyBinary(from, &buffer)
	case string(start[:6]) == "PROXY ":
		return readProxyText(from, buffer[:len(start):proxyTextLimit])
	}
	return proxied{}, errNoProxyHeader
}

// readProxyText reads version 1, a line: "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443".
func readProxyText(from io.Reader, line []byte) (proxied, error) {
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == cap(line) {
			return proxied{}, errNoProxyHeader
		}
		line = line[:len(line)+1]
		if _, err := io.ReadFull(from, line[len(line)-1:]); err != nil {
			return proxied{}, err
		}
	}
	words := strings.Split(string(line[:len(line)-2]), " ")
	if words[1] == "UNKNOWN" {
		return proxied{}, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return proxied{}, errNoProxyHeader
	}
	var p proxied
	for i, into := range []*netip.AddrPort{&p.client, &p.local} {
		address, err := netip.ParseAddr(words[2+i])
		if err != nil || address.Is4() != (words[1] == "TCP4") || address.Zone() != "" {
			return proxied{}, errNoProxyHeader
		}
		port, err := strconv.ParseUint(words[4+i], 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != words[4+i] {
			return proxied{}, errNoProxyHeader
		}
		*into = netip.AddrPortFrom(address.Unmap(), uint16(port))
	}
	return p, nil
}

// readProxyBinary reads version 2 behind its signature. What is added to the
// addresses is skipped.
func readProxyBinary(from io.Reader, buffer *[proxyHeaderLimit]byte) (proxied, error) {
	fixed := buffer[:4]
	if _, err := io.ReadFull(from, fixed); err != nil {
		return proxied{}, err
	}
	version, command := fixed[0]>>4, fixed[0]&15
	family, length := fixed[1], int(binary.BigEndian.Uint16(fixed[2:]))
	if version != 2 || command > 1 || length > proxyHeaderLimit-len(proxySignature)-len(fixed) {
		return proxied{}, errNoProxyHeader
	}
	body := buffer[:length]
	if _, err := io.ReadFull(from, body); err != nil {
		return proxied{}, err
	}
	if command == 0 { // LOCAL
		return proxied{}, nil
	}
	size := map[byte]int{0x11: 4, 0x21: 16}[family] // TCP over IPv4 and IPv6
	switch {
	case family>>4 > 3, family&15 > 2: // to be refused, says the specification
		return proxied{}, errNoProxyHeader
	case size == 0:
		return proxied{}, nil // not known: the proxy's own address counts
	case length < 2*size+4:
		return proxied{}, errNoProxyHeader
	}
	var p proxied
	for i, into := range []*netip.AddrPort{&p.client, &p.local} {
		address, _ := netip.AddrFromSlice(body[i*size : (i+1)*size])
		*into = netip.AddrPortFrom(address.Unmap(), binary.BigEndian.Uint16(body[2*size+2*i:]))
	}
	return p, nil
}
