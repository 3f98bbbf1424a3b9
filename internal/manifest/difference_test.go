package manifest

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

func TestNothingChangesWhereNothingIsDifferent(t *testing.T) {
	m := parse(t, quiz)
	if changes := Difference(m.App("staging"), m.App("staging")); len(changes) != 0 || Sentence(changes) != "nothing to change" {
		t.Errorf("%v", changes)
	}
}

func TestEachChangeIsNamedWithWhatItCauses(t *testing.T) {
	running := parse(t, `
app: quiz
build: make
processes:
  web: { command: ./web, limits: { memory: 256MiB }, health: /healthz }
  mailer: ./mailer
release: ./migrate
env: { LOG: info, OLD: x }
domains: [old.example.com, quiz.example.com]
`).App(springtide.Production)
	wanted := parse(t, `
app: quiz
build: { command: make all, env: { FAST: "" } }
processes:
  web: { command: ./web --fast, scale: { max: 10, stable: 1m }, drain: 1m30s, streams: finish, limits: { cpu: 0.5 }, try_timeout: 2s, sticky: { for: 1h } }
  worker: ./worker
env: { LOG: debug, NEW: y }
domains: [quiz.example.com, new.example.com]
keep: 3
`).App(springtide.Production)
	var got []string
	for _, change := range Difference(running, wanted) {
		got = append(got, change.String())
	}
	want := []string{
		"build.command: make → make all (new build and release)",
		`+ build.env.FAST: "" (new build and release)`,
		"processes.web.command: ./web → ./web --fast (restart of web)",
		"- processes.web.health.path: /healthz (restart of web)",
		"processes.web.health.tcp: false → true (restart of web)",
		"processes.web.scale.max: 4 → 10 (scaling only)",
		"+ processes.web.scale.stable: 1m (scaling only)",
		"processes.web.drain: 30s → 1m30s (restart of web)",
		"processes.web.streams: close → finish (restart of web)",
		"+ processes.web.try_timeout: 2s (restart of web)",
		"+ processes.web.sticky.cookie: tide_session (restart of web)",
		"+ processes.web.sticky.for: 1h (restart of web)",
		"+ processes.web.limits.cpu: 0.5 (restart of web)",
		"- processes.web.limits.memory: 256MiB (restart of web)",
		"- processes.mailer: ./mailer (end of mailer)",
		"+ processes.worker: ./worker (start of worker)",
		"- release: ./migrate (new release)",
		"env.LOG: info → debug (restart of every process)",
		"+ env.NEW: y (restart of every process)",
		"- env.OLD: x (restart of every process)",
		"- domains: old.example.com (routing only)",
		"+ domains: new.example.com (routing only)",
		"keep: 10 → 3 (nothing that runs)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAChangeIsAStableJSONObject(t *testing.T) {
	m := parse(t, quiz)
	running, wanted := m.App(springtide.Production), m.App(springtide.Production)
	wanted.KeepReleases = 7
	got, err := json.Marshal(Difference(running, wanted))
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"path":"keep","from":"5","to":"7","kind":"changed","effect":"nothing that runs"}]`; string(got) != want {
		t.Errorf("got %s", got)
	}
}

func TestAFirstDeployAddsEverything(t *testing.T) {
	for _, change := range Difference(springtide.App{}, parse(t, quiz).App(springtide.Production)) {
		if change.Kind == Removed {
			t.Errorf("%s", change)
		}
	}
}
