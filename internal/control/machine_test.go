package control

import (
	"context"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/api"
)

func TestWhereTheLedgerIsIsToldWithoutItsPassword(t *testing.T) {
	for location, want := range map[string]string{
		"/var/lib/tide/jobs.db": "/var/lib/tide/jobs.db",
		"postgres://tide:s3cret@db.example.com:5433/tide?password=s3cret":    "postgres://db.example.com:5433/tide",
		"postgresql:///tide?host=/run/postgresql&user=tide&sslkey=s3cret":    "postgres:///run/postgresql/tide",
		"postgres://tide:s3cret@one.example.com:5432,two.example.com:5433/x": "postgres://one.example.com:5432,two.example.com:5433/x",
		"postgres://tide:s3%cret@db.example.com/tide":                        "PostgreSQL",
	} {
		if got := ledgerPlace(location); got != want {
			t.Errorf("of %s is told %s, not %s", location, got, want)
		}
	}
}

func TestThePlatformTellsWhetherTheLedgerAnswers(t *testing.T) {
	data := idleApp(t)
	c, end := control(t, Options{DataFolder: data})
	defer end()
	want := api.LedgerStatus{Location: data + "/jobs.db"}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		status, err := c.Status(t.Context())
		if err == nil && status.Ledger == want {
			break
		}
		if err != nil || time.Now().After(deadline) { // it has askLimit to answer, for which a busy machine may stop
			t.Fatalf("it tells %+v, %v", status.Ledger, err)
		}
	}
	m := machine{ledger: "x", ask: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	began := time.Now()
	if status := m.ledgerStatus(t.Context()); status.Trouble == "" || time.Since(began) > askLimit+30*time.Second {
		t.Errorf("of one that does not answer it tells %+v", status)
	}
}
