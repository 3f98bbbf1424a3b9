package manifest

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cron"
)

func FuzzTideYAML(f *testing.F) {
	f.Add([]byte(quiz))
	f.Add([]byte(letters))
	fuzzParse(f, FileName)
}

func FuzzProcfile(f *testing.F) {
	f.Add([]byte("web: ./server --port=$PORT\nrelease: ./migrate\n"))
	fuzzParse(f, procfileName)
}

func FuzzCompose(f *testing.F) {
	f.Add([]byte("services:\n  web: &web { build: ., command: [./web, \"a b\"], ports: [80], environment: [A=b] }\n  other: { <<: *web }\n"))
	fuzzParse(f, "compose.yaml")
}

func FuzzAppJSON(f *testing.F) {
	f.Add([]byte(`{"name": "quiz", "env": {"A": {"value": "b"}}, "formation": {"web": {"quantity": 2}}, "cron": [{"command": "./tidy", "schedule": "@daily"}]}`))
	fuzzParse(f, appJSONName)
}

// fuzzParse checks that whatever is written is either explained or an app that
// makes sense.
func fuzzParse(f *testing.F, file string) {
	archives, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, one := range archive.Files {
			if one.Name == file || file == FileName && one.Name == "want" || file == "compose.yaml" && one.Name == "docker-compose.yml" {
				f.Add(one.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(file, data)
		if err != nil {
			explained(t, file, err)
			return
		}
		for _, environment := range append(m.Environments(), springtide.Production, "never-named") {
			sensible(t, m.App(environment))
		}
		draft := Draft{From: file, Notices: m.Notices, document: m.document}
		again, err := draft.Manifest()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v\n%s", err, draft.YAML())
		}
		for _, environment := range append(m.Environments(), springtide.Production) {
			if diff := cmp.Diff(m.App(environment), again.App(environment)); diff != "" {
				t.Fatalf("what was written is read as another app: %s\n%s", diff, draft.YAML())
			}
		}
	})
}

func explained(t *testing.T, file string, err error) {
	lines := strings.Split(err.Error(), "\n")
	if springtide.KindOf(err) != springtide.Invalid || len(lines) > problemLimit+1 || !utf8.ValidString(err.Error()) {
		t.Fatalf("%s in %d lines: %q", springtide.KindOf(err), len(lines), err)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, file+":") {
			t.Fatalf("nobody knows where this is: %q", line)
		}
	}
}

func sensible(t *testing.T, app springtide.App) {
	if !namePattern.MatchString(string(app.Name)) || len(app.Processes) == 0 || app.KeepReleases < 2 || app.Build.Timeout <= 0 {
		t.Fatalf("%+v", app)
	}
	http := 0
	for _, name := range app.ProcessNames() {
		p := app.Processes[name]
		if p.HTTP {
			http++
		}
		if p.Worker != nil && (p.HTTP || len(p.Worker.Queues) == 0 || p.Worker.Timeout <= 0 || p.Grace <= p.Worker.Timeout+p.Worker.Grace) {
			t.Fatalf("%s: %+v", name, p.Worker)
		}
		if p.Command == "" && (p.Worker == nil || p.Worker.Own) || p.Scale.Min < 0 || p.Scale.Max < max(1, p.Scale.Min) || p.Drain < 0 || p.Grace < 0 ||
			p.Health.Interval <= 0 || p.Health.Timeout <= 0 || p.Health.Start <= 0 || p.Health.Failures < 1 || p.Limits.Memory < 0 {
			t.Fatalf("%s: %+v", name, p)
		}
	}
	for name, schedule := range app.Jobs.Schedules {
		timetable, err := cron.Parse(schedule.Cron, schedule.Timezone)
		if err != nil || timetable.Next(time.Now()).IsZero() || len(schedule.Job.Payload) > 0 && !json.Valid(schedule.Job.Payload) {
			t.Fatalf("%s: %+v: %v", name, schedule, err)
		}
	}
	if http > 1 {
		t.Fatalf("%d processes are given requests", http)
	}
}

func TestAnyTextIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.OneOf(
			rapid.StringMatching(`[ -~]*`),
			rapid.StringMatching(`[a-z.:#'"\\&*!|>%@{}\[\],? \n\t-]{0,12}`),
			rapid.SampledFrom([]string{"true", "NO", "~", "null", "1e3", ".5", "0x1f", "12:30", "- a", "a: b", "a #b", "a:", "---", "...", "=", "<<", "2026-05-03", " a", "a ", "é\u2028\u0085", "\\", "'", "''", `"`}),
		).Draw(t, "text")
		if _, refused := checkText("", []byte(strings.ReplaceAll(want, "\r", ""))); refused != nil {
			t.Skip()
		}
		read, found := parseYAML(FileName, []byte("a: "+quoteYAML(want)+"\nb: 1\n"), false)
		if err := found.err(); err != nil {
			t.Fatal(err)
		}
		if got := read.get("a"); got == nil || got.kind != text || got.text != want {
			t.Fatalf("%q is written %s and read as %+v", want, quoteYAML(want), got)
		}
	})
}

func TestDurationsAndSizesAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted := duration(rapid.Int64Range(0, int64(24*3600*1e9)).Draw(t, "duration") / 1000 * 1000)
		written, _ := wanted.write()
		var read duration
		if err := read.parse(&node{kind: text, text: written}); err != nil || read != wanted {
			t.Fatalf("%d is written %s and read as %d: %v", wanted, written, read, err)
		}
		bytes := size(rapid.Int64Range(0, 1<<46).Draw(t, "size"))
		written, _ = bytes.write()
		var again size
		if err := again.parse(&node{kind: text, text: written}); err != nil || again != bytes {
			t.Fatalf("%d is written %s and read as %d: %v", bytes, written, again, err)
		}
	})
}

func FuzzCrontabBecomesSchedules(f *testing.F) {
	f.Add("A=b c\n*/5 * * * * ./a%in'put\nCRON_TZ=Europe/Berlin\n@daily \"x\" \t# y\n")
	f.Fuzz(func(t *testing.T, text string) {
		crontab, err := cron.ReadCrontab(strings.NewReader(text), cron.CrontabOptions{})
		written := "app: quiz\nprocesses: { web: ./web }\n" + string(FromCrontab(crontab))
		if err != nil || len(written) > sizeLimit {
			return
		}
		m, err := Parse(FileName, []byte(written))
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		if got := len(m.App(springtide.Production).Jobs.Schedules); got != len(crontab.Entries) {
			t.Fatalf("%d entries became %d schedules\n%s", len(crontab.Entries), got, written)
		}
	})
}
