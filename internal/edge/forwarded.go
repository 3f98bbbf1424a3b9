package edge

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/springtide/springtide/internal/message"
)

// networks are those of proxies that are believed.
type networks []netip.Prefix

func (n networks) have(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	return slices.ContainsFunc(n, func(network netip.Prefix) bool { return network.Contains(address) })
}

// peer is who a connection is from, as its exchanges begin with it.
type peer struct {
	address, port string
	proxy         bool // it is believed
}

// introduce finds out who sent a request, and for where, if it came by way of a
// proxy that is believed. Of nobody else a claim is read.
func (e *edge) introduce(x *exchange) {
	if len(e.options.TrustedProxies) == 0 {
		return
	}
	if x.from.address == "" {
		address, _ := netip.ParseAddr(x.address)
		x.from = peer{x.address, x.port, networks(e.options.TrustedProxies).have(address)}
	}
	x.address, x.port = x.from.address, x.from.port
	if !x.from.proxy {
		return
	}
	claim := claimed(x.request.Fields, networks(e.options.TrustedProxies))
	if claim.client.IsValid() {
		x.address = claim.client.String()
	}
	if claim.proto != "" {
		x.request.Scheme = claim.proto
	}
	if claim.host != "" {
		x.request.Host = claim.host
		x.host = hostOf(claim.host)
	}
	if claim.port != "" {
		x.port = claim.port
	}
}

// claim is what proxies say of a request; what they do not say is empty.
type claim struct {
	client netip.Addr
	proto  string // "http" or "https"
	host   string // in lower case
	port   string
}

// claimed reads X-Forwarded-For, -Proto, -Host and -Port, or Forwarded (RFC 7239)
// where there is no X-Forwarded-For. Each proxy adds the address of whom it heard
// from at the end. So the client is the last address that is not a proxy's; what
// stands before it anybody can have written.
func claimed(fields message.Fields, trusted networks) claim {
	if hops := listOf(fields, "X-Forwarded-For"); len(hops) > 0 {
		var c claim
		used := c.follow(hops, trusted)
		nearest := func(name string) string {
			all := listOf(fields, name)
			if len(all) == 0 {
				return ""
			}
			return all[max(len(all)-used, 0)]
		}
		c.say(nearest("X-Forwarded-Proto"), nearest("X-Forwarded-Host"), nearest("X-Forwarded-Port"))
		return c
	}
	var c claim
	elements := listOf(fields, "Forwarded")
	if len(elements) == 0 {
		c.say(lastOf(fields, "X-Forwarded-Proto"), lastOf(fields, "X-Forwarded-Host"), lastOf(fields, "X-Forwarded-Port"))
		return c
	}
	hops := make([]string, len(elements))
	for i, element := range elements {
		hops[i] = parameter(element, "for")
	}
	heard := elements[max(len(elements)-c.follow(hops, trusted), 0)]
	c.say(parameter(heard, "proto"), parameter(heard, "host"), "")
	return c
}

// follow goes back along the hops to the client. It gives how many are believed,
// at least 1: the last one was written by the proxy that is connected.
func (c *claim) follow(hops []string, trusted networks) int {
	for i, hop := range slices.Backward(hops) {
		address, ok := nodeOf(hop)
		if !ok {
			return max(len(hops)-1-i, 1)
		}
		c.client = address
		if !trusted.have(address) {
			return len(hops) - i
		}
	}
	return len(hops)
}

// say takes what was said of the request, as far as it is proper.
func (c *claim) say(proto, host, port string) {
	if proto = strings.ToLower(proto); proto == "http" || proto == "https" {
		c.proto = proto
	}
	if message.IsAuthority(host) {
		c.host = strings.ToLower(host)
	}
	if len(port) <= 5 && port != "" && strings.Trim(port, "0123456789") == "" {
		c.port = port
	}
}

// nodeOf reads an address, with a port or without: 192.0.2.1, 192.0.2.1:80,
// 2001:db8::1, [2001:db8::1], [2001:db8::1]:80.
func nodeOf(hop string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(hop); err == nil {
		hop = host
	}
	address, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(hop, "["), "]"))
	return address.Unmap().WithZone(""), err == nil
}

// listOf gives the members of a list field, over all of its lines. A comma in
// quotes is none.
func listOf(fields message.Fields, name string) []string {
	var all []string
	for line := range fields.All(name) {
		for _, member := range cut(line, ',') {
			if member = strings.Trim(member, " \t"); member != "" {
				all = append(all, member)
			}
		}
	}
	return all
}

func lastOf(fields message.Fields, name string) string {
	if all := listOf(fields, name); len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// cut divides a text at a character, but not within quotes (RFC 9110, section 5.6.4).
func cut(text string, at byte) []string {
	var parts []string
	begin, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == at && !quoted:
			parts = append(parts, text[begin:i])
			begin = i + 1
		}
	}
	return append(parts, text[begin:])
}

// parameter gives one of an element of Forwarded, "" if it is not there.
func parameter(element, name string) string {
	for _, pair := range cut(element, ';') {
		key, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
		if !ok || !strings.EqualFold(key, name) {
			continue
		}
		inner, quoted := strings.CutPrefix(value, `"`)
		if quoted {
			inner = strings.ReplaceAll(strings.TrimSuffix(inner, `"`), `\`, "")
		}
		return inner
	}
	return ""
}
