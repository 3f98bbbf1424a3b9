package call

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

func TestTheGuardLetsOnlyPublicAddressesThrough(t *testing.T) {
	guard := NewGuard([]netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")})
	guard.own = func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.ParseIP("198.41.0.4"), Mask: net.CIDRMask(24, 32)}}, nil
	}
	for address, want := range map[string]string{
		"1.1.1.1:443": "", "[2606:4700:4700::1111]:443": "", "10.9.3.4:25": "", "198.41.0.5:443": "",
		"127.0.0.1:80": "not a public address", "127.9.9.9:80": "not a public address", "0.0.0.0:80": "not a public address",
		"10.0.0.1:80": "not a public address", "172.16.0.1:80": "not a public address", "192.168.1.1:80": "not a public address",
		"169.254.169.254:80": "not a public address", "100.64.0.1:80": "not a public address", "224.0.0.1:80": "not a public address",
		"255.255.255.255:80": "not a public address", "[::1]:80": "not a public address", "[::]:80": "not a public address",
		"[::ffff:127.0.0.1]:80": "not a public address", "[::ffff:10.9.0.1]:80": "", "[::7f00:1]:80": "not a public address",
		"[fe80::1%eth0]:80": "not a public address", "[fd00::1]:80": "not a public address", "[ff02::1]:80": "not a public address",
		"[64:ff9b::7f00:1]:80": "not a public address", "[2002:7f00:1::]:80": "not a public address", "[2001:0:1::]:80": "not a public address",
		"[::ffff:0:7f00:1]:80": "not a public address", "[64:ff9b:1::7f00:1]:80": "not a public address", "[3fff::1]:80": "not a public address",
		"198.41.0.4:443": "the platform's own address", "[::ffff:198.41.0.4]:443": "the platform's own address",
		"nonsense": "is no address",
	} {
		err := guard.check(address)
		if _, refused := errors.AsType[*refusal](err); refused != (want != "") || (refused && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestANameThatLeadsToThisMachineIsNotCalled(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was reached") })
	caller := New(Options{})
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	for _, host := range []string{"localhost", "127.0.0.1", "[::ffff:127.0.0.1]"} {
		outcome := caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: "http://" + host + ":" + port}))
		if !outcome.Final || !strings.Contains(outcome.Reason, "is not a public address") {
			t.Errorf("%s: %+v", host, outcome)
		}
	}
	if failures(caller) > 0 {
		t.Error("a refusal counts against the host")
	}
}

func TestARedirectGetsNoFurtherThanACall(t *testing.T) {
	hidden := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was reached") })
	_, port, _ := net.SplitHostPort(hidden.Listener.Addr().String())
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip(err)
	}
	go http.Serve(listener, http.RedirectHandler("http://127.0.0.1:"+port+"/", http.StatusFound))
	defer listener.Close()
	caller := New(Options{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}})
	outcome := caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: "http://" + listener.Addr().String(), Method: "GET"}))
	if !outcome.Final || !strings.HasPrefix(outcome.Reason, "127.0.0.1 is not a public address") {
		t.Errorf("%+v", outcome)
	}
}
