package manifest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

const shop = `
app: shop
processes: { web: ./bin/web }
services:
  db: { postgres: 15, replica: true, synchronous: true, memory: 512MiB, connections: 60, limits: { cpu: 2, memory: 1GiB }, pool: { mode: transaction, each: 5 }, extensions: [pg_trgm, uuid-ossp] }
  old: { mariadb: "10.11", pool: 12 }
  cache: { redis: 7, policy: allkeys-lru }
  sessions: redis
  elsewhere: { url: "postgres://shop@db.example.com/shop" }
  hidden: { kind: mariadb, url: "secret:HIDDEN_URL" }
files:
  uploads: /data/uploads/
  media: { path: public/media, quota: 10GiB, public: /media }
secrets: [STRIPE_KEY, HIDDEN_URL]
backups:
  db: { daily: "03:15", keep: 30d }
  old: "04:00"
  cache: {}
  files: { keep: 10d }
environments:
  staging:
    services: { db: { url: "secret:STAGING_URL", kind: postgres, replica: false, synchronous: false }, cache: { memory: 64MiB } }
    secrets: [STAGING_URL]
    backups: { db: { enabled: false } }
`

func TestWhatKeepsStateIsReadWithItsDefaults(t *testing.T) {
	app := parse(t, shop).App(springtide.Production)
	want := springtide.App{
		Services: map[springtide.ServiceName]springtide.Service{
			"db": {
				Kind: springtide.ServicePostgres, Version: "15", Replica: true, Synchronous: true,
				Memory: 512 << 20, Connections: 60, Limits: springtide.Limits{CPU: 2, Memory: 1 << 30}, Pool: springtide.Pool{Each: 5, Mode: springtide.PoolTransaction, Size: 20}, Extensions: []string{"pg_trgm", "uuid-ossp"},
			},
			"old":       {Kind: springtide.ServiceMariaDB, Version: "10.11", Pool: springtide.Pool{Each: 12}},
			"cache":     {Kind: springtide.ServiceRedis, Version: "7", Policy: "allkeys-lru"},
			"sessions":  {Kind: springtide.ServiceRedis},
			"elsewhere": {Kind: springtide.ServicePostgres, External: "postgres://shop@db.example.com/shop"},
			"hidden":    {Kind: springtide.ServiceMariaDB, External: "secret:HIDDEN_URL"},
		},
		Files: map[springtide.FilesName]springtide.Files{
			"uploads": {Path: "/data/uploads"},
			"media":   {Path: "public/media", Quota: 10 << 30, Public: "/media"},
		},
		Secrets: []springtide.SecretName{"STRIPE_KEY", "HIDDEN_URL"},
		Backups: map[string]springtide.Backup{
			"db":    {Daily: "03:15", Keep: 30 * 24 * time.Hour, PointInTime: true},
			"old":   {Daily: "04:00", Keep: 30 * 24 * time.Hour, PointInTime: true},
			"cache": {Daily: "04:30", Keep: 30 * 24 * time.Hour},
			"files": {Daily: "04:30", Keep: 10 * 24 * time.Hour},
		},
	}
	got := springtide.App{Services: app.Services, Files: app.Files, Secrets: app.Secrets, Backups: app.Backups}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAnEnvironmentMayHaveOtherServices(t *testing.T) {
	app := parse(t, shop).App("staging")
	if got, want := app.Services["db"].External, "secret:STAGING_URL"; got != want || app.Services["db"].Version != "" || app.Services["db"].Replica {
		t.Errorf("db is %+v", app.Services["db"])
	}
	if app.Services["cache"].Memory != 64<<20 || app.Services["cache"].Version != "7" {
		t.Errorf("cache is %+v", app.Services["cache"])
	}
	if len(app.Secrets) != 1 || app.Backups["db"].Daily != "" || app.Backups["files"].Daily == "" {
		t.Errorf("secrets are %v, backups %v", app.Secrets, app.Backups)
	}
}

func TestADifferenceTellsWhatBecomesOfState(t *testing.T) {
	from := parse(t, shop).App(springtide.Production)
	to := parse(t, `
app: shop
processes: { web: ./bin/web }
services: { db: { postgres: 16 }, cache: { redis: 7 } }
files: { uploads: /data/uploads }
backups: { db: { keep: 10d } }
`).App(springtide.Production)
	var lines []string
	for _, change := range Difference(from, to) {
		lines = append(lines, change.String())
	}
	for _, line := range []string{
		"services.db: postgres 15 → postgres 16 (the service, and a restart of every process)",
		"services.db.replica: true → false (the service, and a restart of every process)",
		"- services.old: mariadb 10.11 (end of the service; its data is kept)",
		"- files.media.path: public/media (restart of every process)",
		"- secrets: STRIPE_KEY (restart of every process)",
		"backups.db.daily: 03:15 → 04:30 (backups only)",
		"- backups.files: 04:30 (backups only)",
	} {
		if !slices.Contains(lines, line) {
			t.Errorf("%q is not told in\n%q", line, lines)
		}
	}
	if same := Difference(from, parse(t, shop).App(springtide.Production)); len(same) != 0 {
		t.Errorf("what is the same differs by %v", same)
	}
}
