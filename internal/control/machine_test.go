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
	status, err := c.Status(t.Context())
	if want := (api.LedgerStatus{Location: data + "/jobs.db"}); err != nil || status.Ledger != want {
		t.Errorf("it tells %+v, %v", status.Ledger, err)
	}
	m := machine{ledger: "x", ask: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	began := time.Now()
	if status := m.ledgerStatus(t.Context()); status.Trouble == "" || time.Since(began) > 10*time.Second {
		t.Errorf("of one that does not answer it tells %+v", status)
	}
}
