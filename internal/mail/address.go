package mail

import (
	netmail "net/mail"
	"strings"

	"golang.org/x/net/idna"

	"github.com/springtide/springtide"
)

// parseAddress reads "name@example.com" or "A Name <name@example.com>". The
// domain comes in ASCII; what would have to be quoted before the @ is refused.
func parseAddress(text string) (*netmail.Address, error) {
	if len(text) > headerLimit || hasControl(text) {
		return nil, springtide.Errorf(springtide.Invalid, "%q is not a mail address", shortened(text))
	}
	address, err := netmail.ParseAddress(text)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "%q is not a mail address", text)
	}
	at := strings.LastIndexByte(address.Address, '@')
	local := address.Address[:at]
	domain, err := idna.Lookup.ToASCII(address.Address[at+1:])
	if err != nil || domain == "" || len(local) > 64 || len(local)+len(domain) > 253 || !atom(local) || hasControl(address.Name) {
		return nil, springtide.Errorf(springtide.Invalid, "%q is not a mail address that can be sent to", text).
			WithHint("it has ASCII letters, digits and ! # $ %% & ' * + / = ? ^ _ ` { | } ~ . - before the @ and a domain after it")
	}
	address.Address = local + "@" + domain
	return address, nil
}

// atom reports whether a local part needs no quotes (RFC 5322, dot-atom-text).
func atom(local string) bool {
	for part := range strings.SplitSeq(local, ".") {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool {
			letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
			return !letter && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
		}) {
			return false
		}
	}
	return true
}

// sameAs is what addresses that mean the same mailbox have in common. Servers
// could tell upper from lower case before the @; none does.
func sameAs(address string) string { return strings.ToLower(address) }

func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
}

func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}
