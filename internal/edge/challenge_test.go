package edge

import (
	"crypto/tls"
	"io"
	"net/http"
	"testing"

	"github.com/springtide/springtide"
)

func TestAChallengeIsAnsweredWithoutTLSAlsoForAHostWithoutARoute(t *testing.T) {
	e := startEdge(t)
	e.publish(t, springtide.Table{
		Routes: []springtide.Route{routeTo()},
		Challenges: []springtide.Challenge{
			{Host: testHost, Token: "token", Answer: "token.thumbprint"},
			{Host: "new.example.com", Token: "other", Answer: "other.thumbprint"},
		},
	})
	for _, asked := range []struct {
		host, path, want string
		status           int
	}{
		{testHost, "/.well-known/acme-challenge/token", "token.thumbprint", http.StatusOK},
		{"NEW.example.com:80", "/.well-known/acme-challenge/other", "other.thumbprint", http.StatusOK},
		{"new.example.com", "/.well-known/acme-challenge/token", "", http.StatusNotFound},
		{testHost, "/.well-known/acme-challenge/", "", http.StatusNotFound},
		{testHost, "/token", "", http.StatusPermanentRedirect},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.http.Addr().String()+asked.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = asked.host
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != asked.status || asked.want != "" && string(body) != asked.want {
			t.Errorf("%s%s: %d %q %v", asked.host, asked.path, response.StatusCode, body, err)
		}
	}
}

func TestTheCertificateOfAChallengeIsForClientsThatOfferItsProtocolAlone(t *testing.T) {
	e := startEdge(t)
	usual, err := certify(testHost)
	if err != nil {
		t.Fatal(err)
	}
	challenge, err := certify("challenge.localhost")
	if err != nil {
		t.Fatal(err)
	}
	e.publish(t, springtide.Table{
		Certificates: []springtide.Certificate{usual},
		Challenges:   []springtide.Challenge{{Host: testHost, Chain: challenge.Chain, Key: challenge.Key}, {Host: "broken", Chain: "no PEM"}},
	})
	dial := func(host string, protocols ...string) (string, error) {
		conn, err := tls.Dial("tcp", e.https.Addr().String(), &tls.Config{ServerName: host, NextProtos: protocols, InsecureSkipVerify: true})
		if err != nil {
			return "", err
		}
		defer conn.Close()
		state := conn.ConnectionState()
		return state.NegotiatedProtocol + " " + state.PeerCertificates[0].Subject.CommonName, nil
	}
	for _, offered := range []struct {
		protocols []string
		want      string
	}{
		{[]string{"acme-tls/1"}, "acme-tls/1 challenge.localhost"},
		{[]string{"acme-tls/1", "http/1.1"}, "http/1.1 " + testHost},
		{nil, " " + testHost},
	} {
		if got, err := dial(testHost, offered.protocols...); got != offered.want || err != nil {
			t.Errorf("%v: got %q, %v", offered.protocols, got, err)
		}
	}
	if got, err := dial("other.localhost", "acme-tls/1"); err == nil {
		t.Errorf("a challenge that nobody knows was answered with %q", got)
	}
}
