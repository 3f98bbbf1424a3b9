package cert

import (
	"net"
	"slices"
	"strings"
)

// private are top domains that no public authority gives certificates for: those
// of RFC 2606, RFC 6762, RFC 7686 and RFC 8375, and those that home networks use.
var private = []string{"localhost", "local", "internal", "intranet", "private", "corp", "home", "lan", "test", "example", "invalid", "onion", "home.arpa"}

// Public reports whether a public authority may give a certificate for a
// lower-case host name, or for a wildcard. For others there is the own one.
func Public(name string) bool {
	host := strings.TrimPrefix(name, "*.")
	return strings.Contains(host, ".") && isHost(host) && net.ParseIP(host) == nil &&
		!slices.ContainsFunc(private, func(suffix string) bool { return strings.HasSuffix(host, "."+suffix) })
}
