package manifest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cron"
)

const letters = `
app: letters
processes:
  web: ./bin/web
  worker:
    command: ./bin/task
    queues: [default, mail]
    timeout: 10m
    grace: 30s
    scale: { max: 8, target: { concurrency: 5, wait: 2s } }
  own: { command: ./bin/own, queues: [images], runner: own }
schedules:
  tidy: { cron: "0 8 * * mon-fri", timezone: Europe/Warsaw, command: ./bin/tidy, missed: all, overlap: queue, deadline: 1h, jitter: 5m, timeout: 2h, attempts: 3, on_lost: fail, priority: -5, queue: mail }
  poll: { every: 1h30m, payload: { kind: "poll", deep: [1, 2.5, ~, true, "a\u0085b"] } }
  ping: { cron: "@hourly", url: /jobs/ping, payload: { all: true } }
  never: { every: 1d, url: "https://api.example.com/x?y=1", enabled: false }
queues:
  mail: { concurrency: 2, attempts: 5, retention: 30d }
  images: {}
jobs: { concurrency: 20, calls: { api.example.com: 5, "*": 0.5 } }
mail: { from: "Letters <letters@example.com>" }
environments:
  staging:
    schedules:
      tidy: { every: 10m }
      poll: { enabled: false }
      ping: { command: ./bin/ping }
      never: { enabled: true }
`

func TestJobsAreReadWithTheirDefaults(t *testing.T) {
	app := parse(t, letters).App(springtide.Production)
	want := springtide.Jobs{
		Concurrency: 20,
		Queues: map[springtide.QueueName]springtide.Queue{
			"mail":   {Concurrency: 2, Attempts: 5, Retention: 30 * 24 * time.Hour},
			"images": {Attempts: 25, Retention: 7 * 24 * time.Hour},
		},
		Schedules: map[springtide.ScheduleName]springtide.Schedule{
			"tidy": {
				Cron: "0 8 * * mon-fri", Timezone: "Europe/Warsaw",
				Job: springtide.Job{
					Queue: "mail", Kind: springtide.RunCommand, Command: "./bin/tidy", Priority: -5,
					Attempts: 3, Timeout: 2 * time.Hour, OnLost: springtide.LostFail,
				},
				Missed: springtide.MissedAll, Overlap: springtide.OverlapQueue, Deadline: time.Hour, Jitter: 5 * time.Minute,
			},
			"poll": {
				Cron: "every 1h30m",
				Job: springtide.Job{
					Queue: "default", Kind: springtide.RunCommand, OnLost: springtide.LostRetry,
					Payload: json.RawMessage(`{"kind": "poll", "deep": [1, 2.5, null, true, "a\u0085b"]}`),
				},
				Missed: springtide.MissedLatest, Overlap: springtide.OverlapSkip, Deadline: 10 * time.Minute,
			},
			"ping": {
				Cron: "@hourly",
				Job: springtide.Job{
					Queue: "default", Kind: springtide.RunHTTP, OnLost: springtide.LostRetry,
					Payload: json.RawMessage(`{"url":"/jobs/ping","body":{"all":true}}`),
				},
				Missed: springtide.MissedLatest, Overlap: springtide.OverlapSkip, Deadline: 10 * time.Minute,
			},
		},
		Calls:    map[string]float64{"api.example.com": 5, "*": 0.5},
		MailFrom: "Letters <letters@example.com>",
	}
	if diff := cmp.Diff(want, app.Jobs); diff != "" {
		t.Error(diff)
	}
}

func TestAWorkerIsNotKilledBeforeTheTimeLimitOfWhatItRuns(t *testing.T) {
	app := parse(t, letters).App(springtide.Production)
	worker, own := app.Processes["worker"], app.Processes["own"]
	if diff := cmp.Diff(&springtide.Worker{Queues: []springtide.QueueName{"default", "mail"}, Timeout: 10 * time.Minute, Grace: 30 * time.Second, Wait: 2 * time.Second}, worker.Worker); diff != "" {
		t.Error(diff)
	}
	if worker.Grace != 2*time.Hour+40*time.Second || worker.Timeout != 0 || worker.HTTP {
		t.Errorf("%+v", worker)
	}
	if want := (springtide.Scale{Max: 8, Concurrency: 5, Idle: time.Minute}); worker.Scale != want {
		t.Errorf("%+v", worker.Scale)
	}
	if diff := cmp.Diff(&springtide.Worker{Queues: []springtide.QueueName{"images"}, Own: true, Timeout: time.Hour, Grace: 10 * time.Second, Wait: 5 * time.Second}, own.Worker); diff != "" {
		t.Error(diff)
	}
	if want := (springtide.Scale{Max: 4, Concurrency: 1, Idle: time.Minute}); own.Scale != want || own.Grace != time.Hour+20*time.Second {
		t.Errorf("%+v", own)
	}
}

func TestAnEnvironmentChangesSchedules(t *testing.T) {
	schedules := parse(t, letters).App("staging").Jobs.Schedules
	if len(schedules) != 3 || schedules["tidy"].Cron != "every 10m" || schedules["tidy"].Timezone != "Europe/Warsaw" || schedules["never"].Cron != "every 24h" {
		t.Errorf("%+v", schedules)
	}
	if ping := schedules["ping"].Job; ping.Kind != springtide.RunCommand || ping.Command != "./bin/ping" || string(ping.Payload) != `{"all": true}` {
		t.Errorf("%+v", ping)
	}
}

func TestSchedulesWithCommandsGetAWorkerIfThereIsNone(t *testing.T) {
	m := parse(t, `
app: quiz
schedules:
  tidy: { cron: "@daily", command: ./tidy, timeout: 3h }
  report: { every: 10m, command: ./report, queue: reports }
  ping: { every: 10m, url: /ping, queue: pings }
environments:
  staging: { schedules: { tidy: { enabled: false } } }
`)
	app := m.App(springtide.Production)
	want := map[springtide.ProcessName]springtide.Process{"jobs": {
		Worker: &springtide.Worker{Queues: []springtide.QueueName{"default", "reports"}, Timeout: time.Hour, Grace: 10 * time.Second, Wait: 5 * time.Second},
		Health: springtide.Health{Interval: 5 * time.Second, Timeout: 2 * time.Second, Start: time.Minute, Failures: 3},
		Scale:  springtide.Scale{Max: 2, Concurrency: 1, Idle: time.Minute},
		Drain:  30 * time.Second, Grace: 3*time.Hour + 20*time.Second,
	}}
	if diff := cmp.Diff(want, app.Processes); diff != "" {
		t.Error(diff)
	}
	if queues := m.App("staging").Processes["jobs"].Worker.Queues; len(queues) != 1 || queues[0] != "reports" {
		t.Errorf("in staging it takes from %s", queues)
	}
}

func TestAProcfileWorkerStaysAProcess(t *testing.T) {
	m, err := Parse("Procfile", []byte("web: ./web\nworker: bundle exec sidekiq\nclock: ./clock\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, process := range m.App(springtide.Production).Processes {
		if process.Worker != nil {
			t.Errorf("%s takes runs", name)
		}
	}
}

func TestChangesOfJobsAreNamed(t *testing.T) {
	running := parse(t, letters).App(springtide.Production)
	wanted := parse(t, strings.NewReplacer(
		`"0 8 * * mon-fri"`, `"0 9 * * *"`, "ping: {", "pong: {", "attempts: 5,", "", "queues: [default, mail]", "queues: [default, mail, extra]",
		"wait: 2s", "wait: 3s", "api.example.com: 5, ", "", "timeout: 10m", "timeout: 20m", "letters@", "post@", "images: {}", "",
		"concurrency: 20", "concurrency: 30", "runner: own", "runner: tide",
	).Replace(letters)).App(springtide.Production)
	var got []string
	for _, change := range Difference(running, wanted) {
		got = append(got, change.String())
	}
	want := []string{
		"processes.own.runner: own → tide (restart of own)",
		"processes.worker.queues: default, mail → default, mail, extra (restart of worker)",
		"processes.worker.timeout: 10m → 20m (restart of worker)",
		"processes.worker.scale.target.wait: 2s → 3s (scaling only)",
		"- schedules.ping: @hourly (schedules only)",
		"+ schedules.pong: @hourly (schedules only)",
		"schedules.tidy.cron: 0 8 * * mon-fri → 0 9 * * * (schedules only)",
		"queues.mail.attempts: 5 → 25 (queues only)",
		"jobs.concurrency: 20 → 30 (queues only)",
		"- jobs.calls.api.example.com: 5 (queues only)",
		"mail.from: Letters <letters@example.com> → Letters <post@example.com> (queues only)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestACrontabBecomesSchedules(t *testing.T) {
	crontab, err := cron.ReadCrontab(strings.NewReader(`LANG=C
*/5 * * * * cd /srv/quiz && ./bin/tidy-up.sh --deep
0 3 * * * /usr/bin/php /srv/quiz/artisan schedule:run >> /dev/null 2>&1
CRON_TZ=Europe/Berlin
@daily ./bin/tidy-up.sh
0 8 1 * * mail -s "It's done" boss%Hello%all
0 9 * * * ((x))
`), cron.CrontabOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := string(FromCrontab(crontab))
	want := `schedules:
  # Line 3.
  artisan:
    cron: "0 3 * * *"
    command: "export LANG=C; /usr/bin/php /srv/quiz/artisan schedule:run >> /dev/null 2>&1"
  # Line 6.
  mail:
    cron: "0 8 1 * *"
    timezone: Europe/Berlin
    command: "export LANG=C; printf %s 'Hello\nall\n' | {\nmail -s \"It's done\" boss\n}"
  # Line 7.
  schedule:
    cron: "0 9 * * *"
    timezone: Europe/Berlin
    command: export LANG=C; ((x))
  # Line 2.
  tidy-up:
    cron: "*/5 * * * *"
    command: export LANG=C; cd /srv/quiz && ./bin/tidy-up.sh --deep
  # Line 5.
  tidy-up-2:
    cron: "@daily"
    timezone: Europe/Berlin
    command: export LANG=C; ./bin/tidy-up.sh
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if app := parse(t, "app: quiz\n"+got).App(springtide.Production); len(app.Jobs.Schedules) != 5 || app.Processes["jobs"].Worker == nil {
		t.Errorf("%+v", app)
	}
}

func TestAnyPayloadIsGivenAsItWasWritten(t *testing.T) {
	scalars := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.Float64().AsAny(), rapid.String().AsAny(),
		rapid.SampledFrom([]any{"true", "~", "1e3", "- a", "a: b", "\u007f\u0085\u2028\ufeff", "\\", "a\nb", "#", "''", 1e300, 0.1, -0.5}),
	}
	value := rapid.OneOf(append(scalars,
		rapid.SliceOfN(rapid.OneOf(scalars...), 0, 3).AsAny(),
		rapid.MapOfN(rapid.String(), rapid.OneOf(scalars...), 0, 3).AsAny())...)
	rapid.Check(t, func(t *rapid.T) {
		want, err := json.Marshal([]any{value.Draw(t, "payload")})
		if err != nil {
			t.Fatal(err)
		}
		var written strings.Builder
		for _, r := range string(want) { // a manifest cannot hold these as they are
			if r == 0x7f || r == 0x85 || r == 0xfeff {
				fmt.Fprintf(&written, `\u%04x`, r)
			} else {
				written.WriteRune(r)
			}
		}
		m, err := Parse(FileName, []byte("app: quiz\nprocesses: { worker: { command: ./a, queues: [default] } }\nschedules:\n  a:\n    every: 1h\n    payload: "+written.String()+"\n"))
		if err != nil {
			t.Fatalf("%s: %v", written.String(), err)
		}
		got := m.App(springtide.Production).Jobs.Schedules["a"].Job.Payload
		var wanted, is any
		if json.Unmarshal(want, &wanted) != nil || json.Unmarshal(got, &is) != nil || !cmp.Equal(wanted, is) {
			t.Fatalf("%s became %s", want, got)
		}
		again, err := Draft{document: m.document}.Manifest()
		if err != nil || string(again.App(springtide.Production).Jobs.Schedules["a"].Job.Payload) != string(got) {
			t.Fatalf("%s is written so that it is read otherwise: %v", got, err)
		}
	})
}
