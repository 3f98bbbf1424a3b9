package control

import (
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

func TestACertificateThatAnEdgeDoesNotServeIsInTheStatusUntilItDoes(t *testing.T) {
	data := idleApp(t)
	c, end := control(t, Options{DataFolder: data})
	defer end()
	await := func(what string, met func(api.Certificate) bool) (found api.Certificate) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			status, err := c.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, certificate := range status.Certificates {
				if met(certificate) {
					return certificate
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("waited too long for %s: %+v", what, status.Certificates)
			}
		}
	}
	name := await("a certificate", func(c api.Certificate) bool { return c.Trouble == "" }).Name

	conn, err := net.Dial("unix", filepath.Join(data, "run", "feed.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.Copy(io.Discard, conn) }() // the tables
	report := func(sequence int64, faults ...springtide.CertificateFault) {
		t.Helper()
		if err := json.NewEncoder(conn).Encode(springtide.EdgeReport{Edge: "edge-a", Sequence: sequence, Faults: faults}); err != nil {
			t.Fatal(err)
		}
	}
	report(1, springtide.CertificateFault{Names: []string{name}, Fault: "it ran out on 2026-11-12"})
	trouble := await("the fault", func(c api.Certificate) bool { return c.Name == name && c.Trouble != "" }).Trouble
	if !strings.Contains(trouble, "edge-a does not serve it") || !strings.Contains(trouble, "it ran out on 2026-11-12") {
		t.Errorf("it tells %q", trouble)
	}
	report(2)
	await("the end of the fault", func(c api.Certificate) bool { return c.Name == name && c.Trouble == "" })
}
