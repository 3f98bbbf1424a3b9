package edge

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/springtide/springtide/internal/message"
)

var testProxies = networks{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}

func fieldsOf(text string) (fields message.Fields) {
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields = append(fields, message.Field{Name: name, Value: strings.TrimSpace(value)})
		}
	}
	return fields
}

func TestTheClientIsTheLastAddressThatIsNoProxys(t *testing.T) {
	for said, want := range map[string]string{
		"X-Forwarded-For: 192.0.2.1":                               "192.0.2.1",
		"X-Forwarded-For: 192.0.2.9, 192.0.2.1":                    "192.0.2.1",
		"X-Forwarded-For: 192.0.2.9\nX-Forwarded-For: 192.0.2.1":   "192.0.2.1",
		"X-Forwarded-For: 192.0.2.9, 192.0.2.1, 10.0.0.7":          "192.0.2.1",
		"X-Forwarded-For: 192.0.2.1:4711":                          "192.0.2.1",
		"X-Forwarded-For: [2001:db8::1]:4711":                      "2001:db8::1",
		"X-Forwarded-For: ::ffff:192.0.2.1":                        "192.0.2.1",
		"X-Forwarded-For: 10.0.0.9, 10.0.0.7":                      "10.0.0.9",
		"X-Forwarded-For: nonsense, 10.0.0.7":                      "10.0.0.7",
		"X-Forwarded-For: nonsense":                                "",
		"Forwarded: for=192.0.2.1":                                 "192.0.2.1",
		`Forwarded: for=192.0.2.9, for="[2001:db8::1]:47";proto=x`: "2001:db8::1",
		`Forwarded: for="192.0.2.9, for=192.0.2.1"`:                "",
		"Forwarded: for=192.0.2.1;by=10.0.0.1, For=10.0.0.7":       "192.0.2.1",
		"Forwarded: for=_hidden, for=10.0.0.7":                     "10.0.0.7",
		"Forwarded: for=unknown":                                   "",
		"X-Forwarded-For: 192.0.2.1\nForwarded: for=192.0.2.9":     "192.0.2.1",
		"X-Real-IP: 192.0.2.1":                                     "",
	} {
		got := ""
		if client := claimed(fieldsOf(said), testProxies).client; client.IsValid() {
			got = client.String()
		}
		if got != want {
			t.Errorf("%q: the client is %q, want %q", said, got, want)
		}
	}
}

func TestWhatTheRequestWasForIsWhatTheProxyNearestToTheClientSays(t *testing.T) {
	for said, want := range map[string]claim{
		"X-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: https\nX-Forwarded-Host: Quiz.example.com\nX-Forwarded-Port: 443":        {proto: "https", host: "quiz.example.com", port: "443"},
		"X-Forwarded-For: 192.0.2.9, 192.0.2.1\nX-Forwarded-Proto: http, https":                                                  {proto: "https"},
		"X-Forwarded-For: 192.0.2.1, 10.0.0.7\nX-Forwarded-Proto: https, http":                                                   {proto: "https"},
		"X-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: gopher\nX-Forwarded-Host: a/b\nX-Forwarded-Port: 99999999":               {},
		"Forwarded: for=192.0.2.9;host=evil.example.com, for=192.0.2.1;proto=HTTPS;host=\"quiz.example.com:8443\", for=10.0.0.7": {proto: "https", host: "quiz.example.com:8443"},
		"X-Forwarded-Proto: https": {proto: "https"},
	} {
		got := claimed(fieldsOf(said), testProxies)
		got.client = netip.Addr{}
		if got != want {
			t.Errorf("%q says %+v, want %+v", said, got, want)
		}
	}
}

func FuzzWhatProxiesSay(f *testing.F) {
	f.Add("192.0.2.1, 10.0.0.7", `for="[2001:db8::1]:47";proto=https, for=10.0.0.7;host="a\"b"`, "https", "quiz.example.com:1")
	f.Fuzz(func(t *testing.T, list, forwarded, proto, host string) {
		fields := message.Fields{{Name: "X-Forwarded-Proto", Value: proto}, {Name: "X-Forwarded-Host", Value: host}, {Name: "Forwarded", Value: forwarded}}
		if list != "" {
			fields = append(fields, message.Field{Name: "X-Forwarded-For", Value: list})
		}
		got := claimed(fields, testProxies)
		if got.proto != "" && got.proto != "http" && got.proto != "https" || got.host != "" && !message.IsAuthority(got.host) {
			t.Errorf("it is taken for %+v", got)
		}
		// Whatever a client writes in front of what a proxy adds changes nothing.
		behind := claimed(append(fields, message.Field{Name: "X-Forwarded-For", Value: "192.0.2.77"}), testProxies)
		if behind.client != netip.MustParseAddr("192.0.2.77") {
			t.Errorf("a client passes for %s", behind.client)
		}
	})
}
