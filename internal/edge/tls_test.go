package edge

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

func TestTheCertificateIsChosenByServerName(t *testing.T) {
	e := startEdge(t)
	certificates := make([]springtide.Certificate, 3)
	for i, names := range [][]string{{"default.localhost"}, {"*.demo.localhost"}, {"www.demo.localhost"}} {
		var err error
		if certificates[i], err = certify(names...); err != nil {
			t.Fatal(err)
		}
	}
	broken := springtide.Certificate{Names: []string{"www.demo.localhost"}, Chain: "not PEM", Key: "not PEM"}
	e.publish(t, springtide.Table{Certificates: append([]springtide.Certificate{broken}, certificates...)})
	for name, want := range map[string]string{
		"www.demo.localhost": "www.demo.localhost", "x.demo.localhost": "*.demo.localhost", "WWW.Demo.localhost": "www.demo.localhost",
		"y.x.demo.localhost": "default.localhost", "": "default.localhost",
	} {
		conn, err := tls.Dial("tcp", e.https.Addr().String(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(name, err)
		}
		if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("%q got the certificate of %q, want %q", name, got, want)
		}
		conn.Close()
	}
}

func TestWithoutACertificateTheHandshakeFailsCleanly(t *testing.T) {
	e := startEdge(t)
	_, err := tls.Dial("tcp", e.https.Addr().String(), &tls.Config{ServerName: testHost, InsecureSkipVerify: true})
	if err == nil || !strings.Contains(err.Error(), "remote error: tls:") {
		t.Errorf("the handshake ended with %v", err)
	}
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	if _, body := get(t, e.client(t, true), "/"); body != "fine" {
		t.Errorf("got %q", body)
	}
}

func TestOldVersionsOfTLSAreRefused(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo())
	config := &tls.Config{ServerName: testHost, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if _, err := tls.Dial("tcp", e.https.Addr().String(), config); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

func TestASessionIsResumedOnAnotherEdge(t *testing.T) {
	e := startEdge(t)
	table := springtide.Table{
		Routes:       []springtide.Route{routeTo(serveInstance(t, "web-1-a", fine))},
		Certificates: []springtide.Certificate{testCertificate(t)},
		TicketKeys:   [][32]byte{{1}, {2}},
	}
	e.publish(t, table)
	sessions := tls.NewLRUClientSessionCache(4)
	visit := func() bool {
		t.Helper()
		client := e.client(t, false)
		client.Transport.(*http.Transport).TLSClientConfig.ClientSessionCache = sessions
		response, _ := get(t, client, "/")
		client.CloseIdleConnections()
		return response.TLS.DidResume
	}
	visit()
	if !visit() {
		t.Error("the session was not resumed on the same edge")
	}
	next := e.start(t)
	close(e.process.drain)
	<-e.process.ended
	if !visit() {
		t.Error("the session was not resumed on the next edge")
	}
	table.TicketKeys = [][32]byte{{9}, {1}}
	e.publish(t, table)
	if !visit() {
		t.Error("the session was not resumed after the keys were rotated")
	}
	table.TicketKeys = [][32]byte{{7}}
	e.publish(t, table)
	if visit() {
		t.Error("the session was resumed with a key that is gone")
	}
	next.cancel()
}

func TestAClientThatDoesNotSpeakTLSIsToldSo(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo())
	conn, err := net.Dial("tcp", e.https.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: demo.localhost\r\n\r\n")
	if answer, _ := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.0 400") {
		t.Errorf("got %q", answer)
	}
}

func TestACertificateThatIsNotServedIsReported(t *testing.T) {
	e := startEdge(t)
	good, err := certify(testHost)
	if err != nil {
		t.Fatal(err)
	}
	last := func(met func(springtide.EdgeReport) bool) func([]springtide.EdgeReport) bool {
		return func(reports []springtide.EdgeReport) bool { return len(reports) > 0 && met(reports[len(reports)-1]) }
	}
	bad := good
	bad.Key = testCertificate(t).Key
	e.publish(t, springtide.Table{Certificates: []springtide.Certificate{bad}})
	e.control.await(t, "the fault to be told", last(func(report springtide.EdgeReport) bool {
		return len(report.Faults) == 1 && report.Faults[0].Names[0] == testHost && strings.Contains(report.Faults[0].Fault, "does not match")
	}))
	e.publish(t, springtide.Table{Certificates: []springtide.Certificate{good}})
	e.control.await(t, "all to be well", last(func(report springtide.EdgeReport) bool { return len(report.Faults) == 0 }))
}

func TestACertificateThatCannotBeReadIsLeftOut(t *testing.T) {
	good, err := certify("a.localhost")
	if err != nil {
		t.Fatal(err)
	}
	c := newCertificates([]springtide.Certificate{{Names: []string{"a.localhost"}, Chain: "x"}, good}, &certificates{}, testLogger())
	found, err := c.find("A.localhost")
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err := x509.ParseCertificate(found.Certificate[0]); err != nil || leaf.Subject.CommonName != "a.localhost" {
		t.Errorf("found %v, %v", leaf, err)
	}
}
