package call

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// Guard decides where the platform connects to for an app: not to itself, and
// not to networks that the app could not reach from outside. It looks at the
// address that is dialled, so that no name can lead around it.
type Guard struct {
	allowed []netip.Prefix
	own     func() ([]net.Addr, error)
}

// NewGuard makes a guard that lets through what is allowed though it is private.
func NewGuard(allowed []netip.Prefix) *Guard {
	return &Guard{allowed: allowed, own: net.InterfaceAddrs}
}

// refusal says why there was no call, and never will be.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// Dialer gives a dialer that connects nowhere else.
func (g *Guard) Dialer() *net.Dialer {
	return &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		return g.check(address)
	}}
}

func (g *Guard) check(address string) error {
	parsed, err := netip.ParseAddrPort(address)
	if err != nil {
		return refuse("%q is no address", address)
	}
	ip := parsed.Addr().Unmap().WithZone("")
	if slices.ContainsFunc(g.allowed, func(prefix netip.Prefix) bool { return prefix.Contains(ip) }) {
		return nil
	}
	if private(ip) {
		return refuse("%s is not a public address; the platform calls nowhere else unless the server allows it", ip)
	}
	own, err := g.own()
	if err != nil {
		return fmt.Errorf("the platform's own addresses cannot be read: %w", err)
	}
	if slices.ContainsFunc(own, func(address net.Addr) bool {
		prefix, err := netip.ParsePrefix(address.String())
		return err == nil && prefix.Addr().Unmap() == ip
	}) {
		return refuse("%s is the platform's own address; call the app by a path, such as /tasks", ip)
	}
	return nil
}

// private reports whether an address is not one of the public internet (the
// IANA registries of special-purpose addresses), or stands for another that may
// not be.
func private(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return true
	}
	if ip.Is6() && !netip.MustParsePrefix("2000::/3").Contains(ip) { // whatever translates to IPv4 is outside
		return true
	}
	return slices.ContainsFunc([]string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	}, func(prefix string) bool { return netip.MustParsePrefix(prefix).Contains(ip) })
}
