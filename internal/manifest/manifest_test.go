package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

const quiz = `
app: quiz
build: { command: "go build -o bin/web ./cmd/web", timeout: 5m, limits: { cpu: 1.5, memory: 1GiB, processes: 200 }, env: { CGO_ENABLED: 0 } }
processes:
  web:
    command: ./bin/web
    health: { path: /healthz, interval: 2s, timeout: 500ms, start: 1m30s, failures: 5 }
    scale: { min: 2, max: 20, target: { concurrency: 10 }, idle: 10m, stable: 30s }
    env: { ROLE: web }
    drain: 1m
    timeout: 15s
    grace: 20s
    streams: finish
    try_timeout: 3s
    slow_start: 20s
    sticky: { cookie: quiz, for: 1h }
    limits: { cpu: 1, memory: 256MiB }
  worker: { command: ./bin/worker, scale: { max: 3 }, health: { command: ./bin/check } }
release: ./bin/migrate
env: { LOG: info, DEBUG: true, SIZE: 12 }
domains: [Quiz.example.com, "*.quiz.example.com"]
keep: 5
environments:
  staging:
    domains: [staging.quiz.example.com]
    env: { LOG: debug, EXTRA: "" }
    scale: { web: { min: 1, max: 2 } }
    processes:
      web: { health: { command: ./bin/check }, limits: { memory: 128M } }
      worker: ./bin/worker --slow
  bare: {}
`

func TestEveryKeyOfAManifestIsRead(t *testing.T) {
	app := parse(t, quiz).App(springtide.Production)
	want := springtide.App{
		Name: "quiz",
		Build: springtide.Build{
			Command: "go build -o bin/web ./cmd/web", Timeout: 5 * time.Minute,
			Limits: springtide.Limits{CPU: 1.5, Memory: 1 << 30, Processes: 200},
			Env:    map[string]string{"CGO_ENABLED": "0"},
		},
		Processes: map[springtide.ProcessName]springtide.Process{
			"web": {
				Command: "./bin/web", HTTP: true,
				Health: springtide.Health{Path: "/healthz", Interval: 2 * time.Second, Timeout: 500 * time.Millisecond, Start: 90 * time.Second, Failures: 5},
				Scale:  springtide.Scale{Min: 2, Max: 20, Concurrency: 10, Idle: 10 * time.Minute, StableFor: 30 * time.Second},
				Env:    map[string]string{"ROLE": "web"},
				Drain:  time.Minute, Timeout: 15 * time.Second, Grace: 20 * time.Second, FinishStreams: true,
				TryTimeout: 3 * time.Second, SlowStart: 20 * time.Second, Sticky: &springtide.Sticky{Cookie: "quiz", For: time.Hour},
				Limits: springtide.Limits{CPU: 1, Memory: 256 << 20},
			},
			"worker": {
				Command: "./bin/worker",
				Health:  springtide.Health{Command: "./bin/check", Interval: 5 * time.Second, Timeout: 2 * time.Second, Start: time.Minute, Failures: 3},
				Scale:   springtide.Scale{Min: 1, Max: 3, Idle: 5 * time.Minute},
				Drain:   30 * time.Second, Grace: 10 * time.Second,
			},
		},
		ReleaseCommand: "./bin/migrate",
		Env:            map[string]string{"LOG": "info", "DEBUG": "true", "SIZE": "12"},
		Domains:        []string{"quiz.example.com", "*.quiz.example.com"},
		KeepReleases:   5,
	}
	if diff := cmp.Diff(want, app); diff != "" {
		t.Error(diff)
	}
}

func TestTheShortestManifestHasTheDefaults(t *testing.T) {
	app := parse(t, "app: quiz\nprocesses: { web: ./web }\n").App(springtide.Production)
	want := springtide.App{
		Name:  "quiz",
		Build: springtide.Build{Timeout: 15 * time.Minute},
		Processes: map[springtide.ProcessName]springtide.Process{"web": {
			Command: "./web", HTTP: true,
			Health: springtide.Health{TCP: true, Interval: 5 * time.Second, Timeout: 2 * time.Second, Start: time.Minute, Failures: 3},
			Scale:  springtide.Scale{Min: 1, Max: 4, Concurrency: 40, Idle: 5 * time.Minute},
			Drain:  30 * time.Second, Grace: 10 * time.Second,
		}},
		KeepReleases: 10,
	}
	if diff := cmp.Diff(want, app); diff != "" {
		t.Error(diff)
	}
}

func TestAnEnvironmentChangesWhatItNames(t *testing.T) {
	m := parse(t, quiz)
	production, staging := m.App(springtide.Production), m.App("staging")
	if diff := cmp.Diff([]string{"staging.quiz.example.com"}, staging.Domains); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"LOG": "debug", "EXTRA": "", "DEBUG": "true", "SIZE": "12"}, staging.Env); diff != "" {
		t.Error(diff)
	}
	want := production.Processes["web"]
	want.Scale.Min, want.Scale.Max = 1, 2
	want.Health.Path, want.Health.Command = "", "./bin/check"
	want.Limits.Memory = 128 << 20
	if diff := cmp.Diff(want, staging.Processes["web"]); diff != "" {
		t.Error(diff)
	}
	if got := staging.Processes["worker"].Command; got != "./bin/worker --slow" {
		t.Errorf("the worker runs %q", got)
	}
}

func TestAnEnvironmentDoesNotInheritTheDomainsOfProduction(t *testing.T) {
	m := parse(t, quiz)
	for _, environment := range []springtide.EnvironmentName{"bare", "never-named"} {
		app := m.App(environment)
		if len(app.Domains) != 0 {
			t.Errorf("%s has %v", environment, app.Domains)
		}
		app.Domains = m.App(springtide.Production).Domains
		if diff := cmp.Diff(m.App(springtide.Production), app); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAskingForOneEnvironmentLeavesTheOthersAsTheyAre(t *testing.T) {
	m := parse(t, quiz)
	before := m.App(springtide.Production)
	m.App("staging").Processes["web"].Env["ROLE"] = "changed by the caller"
	if diff := cmp.Diff(before, m.App(springtide.Production)); diff != "" {
		t.Error(diff)
	}
}

func TestTheMaximumFollowsAGreaterMinimum(t *testing.T) {
	app := parse(t, "app: quiz\nprocesses:\n  web: { command: ./web, scale: { min: 7 } }\n  worker: { command: ./worker, scale: { min: 0 } }\n").App(springtide.Production)
	if scale := app.Processes["web"].Scale; scale.Min != 7 || scale.Max != 7 {
		t.Errorf("web: %+v", scale)
	}
	if scale := app.Processes["worker"].Scale; scale.Min != 0 || scale.Max != 1 {
		t.Errorf("worker: %+v", scale)
	}
}

func TestWhatIsNotCarriedOutIsSaid(t *testing.T) {
	m := parse(t, `app: quiz
processes:
  web: ./web
alerts: [{ mail: me@example.com }]
budget:
environments:
  staging: { locks: ~ }
`)
	var got []string
	for _, n := range m.Notices {
		got = append(got, n.String())
	}
	want := []string{
		"tide.yaml:4: alerts: not carried out by this version",
		"tide.yaml:5: budget: not carried out by this version",
		"tide.yaml:7: environments.staging.locks: not carried out by this version",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheSketchOfTheDesignIsAManifest(t *testing.T) {
	m := parse(t, `
app: kwizly
build: { command: "go build -o bin/web ./cmd/web" }     # or image:
processes:
  web:                                                    # listens on $PORT
    command: ./bin/web
    health:  { path: /healthz }                           # readiness, then liveness
    scale:   { min: 2, max: 20, target: { concurrency: 40 } }   # or p95: 300ms
    drain:   30s                                          # plain requests end; then SIGTERM, then grace
    grace:   10s
    limits:  { cpu: 1, memory: 256MiB }
  worker:  { queues: [default, mail], command: ./bin/task, scale: { min: 0, max: 8, target: { wait: 5s } } }
release: ./bin/migrate                                    # once per release, before traffic
schedules:
  tidy:    { cron: "0 8 * * *", timezone: Europe/Warsaw, command: ./bin/tidy, missed: latest, overlap: skip }
domains:  [quiz.example.com]
cache:    [{ match: "/assets/*", ttl: 1y }, { match: "/api/*", bypass: true }]
files:    { uploads: /data/uploads }                      # shared by all instances
services: { db: { postgres: 15 }, cache: { redis: 7 } }   # DATABASE_URL, REDIS_URL
secrets:  [STRIPE_KEY]
backups:  { db: { daily: "04:30", keep: 30d, pitr: true }, files: { daily: "04:30", keep: 10d } }
events:   [{ name: chart show, at: "2026-05-03T09:00+02:00", for: 10h, min: { web: 12 } }]
environments: { staging: { domains: [staging.quiz.example.com], scale: { web: { min: 1, max: 2 } } } }
budget:   { monthly: 50, currency: EUR }                  # times are UTC unless a timezone is named
`)
	if got := m.App("staging").Processes["web"].Scale.Max; got != 2 {
		t.Errorf("staging has at most %d", got)
	}
	if got := m.App(springtide.Production).Processes["worker"].Scale.Max; got != 8 {
		t.Errorf("there are at most %d workers", got)
	}
}

func TestDurationsAndSizesHaveUnits(t *testing.T) {
	for written, want := range map[string]time.Duration{
		"0s": 0, "250ms": 250 * time.Millisecond, "1.5s": 1500 * time.Millisecond, "90m": 90 * time.Minute,
		"1h30m": 90 * time.Minute, "2d": 48 * time.Hour, "1w": 7 * 24 * time.Hour, "1y": 365 * 24 * time.Hour,
	} {
		var got duration
		if err := got.parse(&node{kind: text, text: written}); err != nil || time.Duration(got) != want {
			t.Errorf("%s is %v: %v", written, time.Duration(got), err)
		}
	}
	for written, want := range map[string]int64{
		"1KiB": 1024, "256MiB": 256 << 20, "1.5GiB": 3 << 29, "512M": 512 << 20, "1G": 1 << 30, "64K": 64 << 10,
		"10kB": 10_000, "10KB": 10_000, "10MB": 10_000_000, "2GB": 2_000_000_000, "1 TiB": 1 << 40,
	} {
		var got size
		if err := got.parse(&node{kind: text, text: written}); err != nil || int64(got) != want {
			t.Errorf("%s is %d: %v", written, got, err)
		}
	}
}

func TestNothingIsFilledInForADollarSign(t *testing.T) {
	app := parse(t, "app: quiz\nenv: { HOST: \"${HOST}\" }\nprocesses: { web: 'serve $PORT' }\n").App(springtide.Production)
	if app.Env["HOST"] != "${HOST}" || app.Processes["web"].Command != "serve $PORT" {
		t.Errorf("%+v", app)
	}
}

func TestWhatIsNoTextIsNoManifest(t *testing.T) {
	for said, data := range map[string]string{
		"tide.yaml:2:7: the byte 0xff is not UTF-8":           "app: quiz\nrun: é\xff",
		"tide.yaml:1:5: a control character (0x00)":           "app:\x00 quiz",
		"tide.yaml: is larger than 64 KiB":                    strings.Repeat("# long\n", 10_000),
		"tide.yaml:1:501: brackets are nested too deeply":     strings.Repeat("[", 60_000),
		"tide.yaml:2:12: a control character (0x1b) has no p": "app: quiz\nenv: { A: \"\x1b[0m\" }",
	} {
		_, err := Parse(FileName, []byte(data))
		if err == nil || !strings.HasPrefix(err.Error(), said) {
			t.Errorf("want %q, got %v", said, err)
		}
	}
}

func TestAByteOrderMarkAndWindowsLinesAreRead(t *testing.T) {
	m := parse(t, "\ufeffapp: quiz\r\nprocesses:\r\n  web: ./web\r\n")
	if got := m.App(springtide.Production).Processes["web"].Command; got != "./web" {
		t.Errorf("web runs %q", got)
	}
}

func TestAFolderIsReadByItsManifest(t *testing.T) {
	dir := folder(t, map[string]string{FileName: "app: quiz\nprocesses: { web: ./web }\n", "Procfile": "web: ./other\n", "tide.yml": "app: other\n"})
	app, notices, err := Load(dir, springtide.Production)
	if err != nil || app.Name != "quiz" || app.Processes["web"].Command != "./web" {
		t.Fatalf("%+v %v", app, err)
	}
	if len(notices) != 1 || notices[0].String() != "tide.yml: is not read, tide.yaml is" {
		t.Errorf("%v", notices)
	}
}

func TestAFolderThatCannotBeReadIsExplained(t *testing.T) {
	empty := folder(t, nil)
	file := filepath.Join(empty, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	blocked := folder(t, nil)
	if err := os.Mkdir(filepath.Join(blocked, FileName), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir  string
		kind springtide.ErrorKind
		said string
	}{
		{empty, springtide.NotFound, "has no manifest: looked for tide.yaml, Procfile, compose.yaml, compose.yml, docker-compose.yaml, docker-compose.yml and app.json; run `tide init` to write a tide.yaml"},
		{filepath.Join(empty, "absent"), springtide.NotFound, "there is no folder"},
		{file, springtide.Invalid, "is a file, not the folder of an app"},
		{folder(t, map[string]string{"tide.yml": "app: quiz\n"}), springtide.Invalid, "tide.yml is not read: the manifest is named tide.yaml; rename it: mv tide.yml tide.yaml"},
		{blocked, springtide.Invalid, "tide.yaml is no ordinary file"},
	} {
		_, _, err := Load(c.dir, springtide.Production)
		if err == nil || !strings.Contains(err.Error(), c.said) || springtide.KindOf(err) != c.kind {
			t.Errorf("want %q, got %v (%s)", c.said, err, springtide.KindOf(err))
		}
	}
}

// parse gives the manifest, which must be right.
func parse(t *testing.T, yaml string) *Manifest {
	t.Helper()
	m, err := Parse(FileName, []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// folder makes a folder with files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "quiz")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestThereAreNotTooManyEnvironments(t *testing.T) {
	var yaml strings.Builder
	yaml.WriteString("app: quiz\nprocesses: { web: ./web }\nenvironments:\n")
	for i := range manyLimit + 1 {
		fmt.Fprintf(&yaml, "  e%d: {}\n", i)
	}
	_, err := Parse(FileName, []byte(yaml.String()))
	if err == nil || err.Error() != "tide.yaml:1:1: environments: there are 101, at most 100 are allowed" {
		t.Error(err)
	}
}

func TestAnEnvironmentNeedsAHostName(t *testing.T) {
	long := strings.Repeat("e", 40)
	yaml := "app: " + strings.Repeat("q", 30) + "\nprocesses: { web: ./web }\n"
	dir := folder(t, map[string]string{FileName: yaml})
	for environment, said := range map[springtide.EnvironmentName]string{
		"Staging": `the environment: "Staging" is no name`, "a--b": "is no name", springtide.EnvironmentName(long): "longer than the 63 characters",
	} {
		if _, _, err := Load(dir, environment); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("want %q, got %v", said, err)
		}
	}
	_, err := Parse(FileName, []byte(yaml+"environments:\n  "+long+": {}\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "tide.yaml:4:3: environments."+long) {
		t.Error(err)
	}
}
