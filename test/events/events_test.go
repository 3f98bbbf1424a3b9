// Package events tells of what is announced, and of what is remembered and
// recommended of an app's traffic.
package events

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/test/story"
)

// manifest is that of an app that lets go of instances as soon as nobody needs
// them. Its event of last year does nothing.
const manifest = `app: radio
processes:
  web:
    command: exec python3 app.py
    health: { path: /healthz }
    scale: { min: 1, max: 6, stable: 1s, target: { concurrency: 10 } }
events:
  - { name: anniversary, at: "2025-05-03T09:00+02:00", min: { web: 6 } }
`

var radio = springtide.EnvironmentID{App: "radio", Name: springtide.Production}

// onAir deploys it.
func onAir(t *testing.T) (*platform.Platform, string) {
	t.Helper()
	p := story.Platform(t)
	app := story.App(t, "python")
	if err := os.WriteFile(filepath.Join(app, "tide.yaml"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	return p, story.Deploy(t, p, app)
}

func tide(t *testing.T, p *platform.Platform, arguments ...string) string {
	t.Helper()
	output, err := p.CLI(t.Context(), append(arguments, "--app", "radio")...)
	if err != nil {
		t.Fatalf("tide %v: %v\n%s", arguments, err, output)
	}
	return output
}

// ready counts the instances that get requests.
func ready(t *testing.T, p *platform.Platform) (n int) {
	t.Helper()
	instances, err := p.Client.Instances(t.Context(), radio)
	if err != nil {
		return -1 // the control plane was killed just now
	}
	for _, instance := range instances {
		if instance.State == springtide.InstanceReady {
			n++
		}
	}
	return n
}

// killControl kills the control plane and waits until there is another one.
func killControl(t *testing.T, p *platform.Platform) {
	t.Helper()
	before, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(before.Processes.Control, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	story.Eventually(t, "another control plane", time.Minute, func() bool {
		after, err := p.Status(t.Context())
		return err == nil && after.Processes.Control != before.Processes.Control
	})
}

func TestInstancesAreReadyBeforeAnEventAndGoIfNobodyComes(t *testing.T) {
	p, _ := onAir(t)
	at := time.Now().Add(75 * time.Second).Truncate(time.Second)
	tide(t, p, "events", "add", "Top 10", "--at", at.Format(time.RFC3339), "--for", "1h", "--min", "web=3")
	killControl(t, p)
	if n := ready(t, p); n > 1 && time.Until(at) > time.Minute {
		t.Errorf("%d instances are ready, more than a minute before it begins", n)
	}
	story.Eventually(t, "three instances, before it begins", time.Until(at), func() bool { return ready(t, p) == 3 })
	if explained := tide(t, p, "explain"); !strings.Contains(explained, "event Top 10 keeps 3") {
		t.Errorf("tide explain:\n%s", explained)
	}
	var announced []api.Announced
	if err := json.Unmarshal([]byte(tide(t, p, "events", "ls", "--json")), &announced); err != nil {
		t.Fatal(err)
	}
	if len(announced) != 2 || announced[0].Name != "Top 10" || announced[0].Reserves["web"].Instances != 3 || !announced[0].Next[0].From.Equal(at) ||
		!announced[1].Manifest || len(announced[1].Next) != 0 {
		t.Errorf("%+v", announced)
	}
	tide(t, p, "events", "rm", "Top 10")
	story.Eventually(t, "all but one to go", time.Minute, func() bool { return ready(t, p) == 1 })

	// It began four minutes ago and nobody came: half of it is kept.
	tide(t, p, "events", "add", "late", "--at", time.Now().Add(-4*time.Minute).Format(time.RFC3339), "--min", "web=4")
	story.Eventually(t, "half of four", time.Minute, func() bool { return ready(t, p) == 2 })
	if explained := tide(t, p, "explain"); !strings.Contains(explained, "event late keeps 2 of 4, nobody came") {
		t.Errorf("tide explain:\n%s", explained)
	}
}

// learnt gives what the last decision says of the app's starts and requests.
func learnt(t *testing.T, p *platform.Platform) (coldStart, service float64, at time.Time) {
	t.Helper()
	var decisions []springtide.Decision
	if err := json.Unmarshal([]byte(tide(t, p, "explain", "--json")), &decisions); err != nil || len(decisions) == 0 {
		t.Fatalf("%v: %v", err, decisions)
	}
	last := decisions[len(decisions)-1]
	if last.Replayed == nil || !last.Replayed.Same {
		t.Errorf("decided again it is another: %+v", last)
	}
	return last.Inputs["cold_start_seconds"], last.Inputs["service_seconds"], last.Time
}

func TestWhatWasLearntOutlivesTheControlPlane(t *testing.T) {
	p, url := onAir(t)
	client := story.HTTP(t, p)
	tide(t, p, "scale", "web=2..6")
	story.Eventually(t, "a second instance", time.Minute, func() bool { return ready(t, p) == 2 })
	story.Get(t, client, url+"/api/tide")
	tide(t, p, "scale", "web=3..6") // a decision that goes by what was learnt
	story.Eventually(t, "a third", time.Minute, func() bool { return ready(t, p) == 3 })
	story.Get(t, client, url+"/api/tide")
	tide(t, p, "scale", "web=4..6")
	story.Eventually(t, "a fourth", time.Minute, func() bool { return ready(t, p) == 4 })
	tide(t, p, "scale", "web=3..6") // decided when all four starts are known
	story.Eventually(t, "one to go", time.Minute, func() bool { return ready(t, p) == 3 })
	before, _, _ := learnt(t, p)
	learning := time.Now()
	story.Eventually(t, "it to be stored", time.Minute, func() bool { return time.Since(learning) > 15*time.Second })
	killed := time.Now()
	killControl(t, p)
	story.Get(t, client, url+"/api/tide")
	var after, service float64
	story.Eventually(t, "a decision after the kill", time.Minute, func() bool {
		var at time.Time
		after, service, at = learnt(t, p)
		return at.After(killed)
	})
	if after == 1 || service == 0 || after != before {
		t.Errorf("the start takes %.3f s and a request %.3f s; before it was %.3f s", after, service, before)
	}
	if said := tide(t, p, "explain", "--replay"); !strings.Contains(said, "decided again: the same") {
		t.Errorf("tide explain --replay:\n%s", said)
	}
}

func TestEventsThatCannotBeAreRefused(t *testing.T) {
	p, _ := onAir(t)
	for _, refused := range []struct {
		code int
		want string
		with []string
	}{
		{2, "is over since", []string{"add", "old", "--at", "2025-05-03T09:00Z", "--min", "web=2"}},
		{2, "raise the maximum first: tide scale web=1..9", []string{"add", "big", "--at", "2099-05-03T09:00Z", "--min", "web=9"}},
		{3, `there is no process "clock"`, []string{"add", "x", "--at", "2099-05-03T09:00Z", "--min", "clock=1"}},
		{2, "does not happen again", []string{"add", "x", "--at", "2099-05-03T09:00Z", "--min", "web=1", "--every", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}},
		{3, "besides those of the manifest", []string{"rm", "anniversary"}},
	} {
		said := story.Refused(t, p.Command(t.Context(), append(append([]string{"events"}, refused.with...), "--app", "radio")...), refused.code)
		if !strings.Contains(said, refused.want) {
			t.Errorf("tide events %v: %s, want %q", refused.with, said, refused.want)
		}
	}
	tide(t, p, "events", "add", "show", "--at", "2099-05-03T09:00Z", "--min", "web=2", "--every", "week")
	twice := p.Command(t.Context(), "events", "add", "show", "--at", "2099-05-04T09:00Z", "--min", "web=2", "--app", "radio")
	if said := story.Refused(t, twice, 4); !strings.Contains(said, "already") {
		t.Errorf("%s", said)
	}
	for _, refused := range []struct {
		want string
		with []string
	}{
		{"hint: at most 10000", []string{"scale", "web=99999999"}},
		{"does not say how many instances", []string{"scale", "web=5..2"}},
		{"hint: 1 to 500", []string{"explain", "-n", "0"}},
		{"hint: at most 40d", []string{"simulate", "--since", "80d"}},
		{"is not how far back", []string{"history", "--since", "91d"}},
	} {
		if said := story.Refused(t, p.Command(t.Context(), append(refused.with, "--app", "radio")...), 2); !strings.Contains(said, refused.want) {
			t.Errorf("tide %v: %s, want %q", refused.with, said, refused.want)
		}
	}
}

func TestACalendarIsImportedAndReplacesWhatItBroughtBefore(t *testing.T) {
	p, _ := onAir(t)
	path := filepath.Join(t.TempDir(), "shows.ics")
	calendar := func(entries string) string {
		text := strings.ReplaceAll("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n"+entries+"END:VCALENDAR\n", "\n", "\r\n")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const show = "BEGIN:VEVENT\nUID:%\nSUMMARY:Show %\nDTSTART;TZID=\"W. Europe Standard Time\":20990105T180000\nDURATION:PT90M\nEND:VEVENT\n"
	first := calendar(strings.ReplaceAll(show, "%", "1") + strings.ReplaceAll(show, "%", "2") + "BEGIN:VEVENT\nUID:3\nSUMMARY:off\nSTATUS:CANCELLED\nDTSTART:20990105T180000Z\nEND:VEVENT\n")
	imported := func(arguments ...string) (all []api.Announced) {
		t.Helper()
		if err := json.Unmarshal([]byte(tide(t, p, append([]string{"events", "import", "--json"}, arguments...)...)), &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := imported(first, "--min", "web=3"); len(all) != 3 || all[0].Name != "Show 1" || all[0].Calendar != "shows.ics" || all[0].Reserves["web"].Instances != 3 ||
		!all[0].Next[0].From.Equal(time.Date(2099, 1, 5, 17, 0, 0, 0, time.UTC)) || all[0].Next[0].Until.Sub(all[0].Next[0].From) != 90*time.Minute {
		t.Errorf("%+v", all)
	}
	if all := imported(calendar(strings.ReplaceAll(show, "%", "2")), "--min", "web=4"); len(all) != 2 || all[0].Name != "Show 2" || all[0].Min["web"] != 4 {
		t.Errorf("%+v", all)
	}
	for entries, want := range map[string]string{
		strings.ReplaceAll(show, "W. Europe Standard Time", "Mars Standard Time"): "shows.ics:4: ",
		strings.ReplaceAll(show, "PT90M", "soon"):                                 "shows.ics:4: DURATION:soon is no length of time",
		"BEGIN:VEVENT\n": "shows.ics is no calendar",
	} {
		said := story.Refused(t, p.Command(t.Context(), "events", "import", calendar(entries), "--min", "web=3", "--app", "radio"), 2)
		if !strings.Contains(said, want) {
			t.Errorf("%s: %s, want %q", entries, said, want)
		}
	}
	var left []api.Announced
	if err := json.Unmarshal([]byte(tide(t, p, "events", "ls", "--json")), &left); err != nil || len(left) != 2 {
		t.Errorf("what was refused changed something: %+v, %v", left, err)
	}
}

func TestWhatWasAskedIsRememberedOverAKillAndCanBeSimulated(t *testing.T) {
	p, url := onAir(t)
	client := story.HTTP(t, p)
	const requests = 40
	for range requests {
		story.Get(t, client, url+"/api/tide")
	}
	remembered := func() (sum int) {
		minutes, err := p.Client.Minutes(t.Context(), radio, springtide.Web, time.Now().Add(-time.Hour))
		if err != nil {
			return -1
		}
		var busiest springtide.Minute
		for _, m := range minutes {
			sum += m.Requests
			if m.Instances > 6 {
				t.Errorf("%+v", m)
			}
			if m.Requests > busiest.Requests {
				busiest = m
			}
		}
		if busiest.Service <= 0 || busiest.P95 <= 0 { // a request may be over in another minute than it came in
			return -1
		}
		return sum
	}
	story.Eventually(t, "all requests to be in the history", time.Minute, func() bool { return remembered() == requests })
	killControl(t, p)
	for range requests {
		story.Get(t, client, url+"/api/tide")
	}
	story.Eventually(t, "those before the kill and those after it", time.Minute, func() bool { return remembered() == 2*requests })
	// Another edge counts anew, in the middle of a minute.
	before, err := p.Status(t.Context())
	if err != nil || len(before.Processes.Edges) != 1 {
		t.Fatal(before.Processes, err)
	}
	if err := syscall.Kill(before.Processes.Edges[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	story.Eventually(t, "another edge", time.Minute, func() bool {
		after, err := p.Status(t.Context())
		return err == nil && len(after.Edges) == 1 && after.Edges[0].Name != before.Edges[0].Name && after.Edges[0].Acknowledged > 0
	})
	client.CloseIdleConnections()
	for range requests {
		story.Get(t, client, url+"/api/tide")
	}
	story.Eventually(t, "those of another edge", time.Minute, func() bool { return remembered() == 3*requests })
	if drawn := tide(t, p, "history"); !strings.Contains(drawn, "120 requests") {
		t.Errorf("tide history:\n%s", drawn)
	}
	var simulated struct {
		Laws []struct {
			Law      string `json:"law"`
			Requests int    `json:"requests"`
		} `json:"laws"`
	}
	law, chart, trace := filepath.Join(t.TempDir(), "law.yaml"), filepath.Join(t.TempDir(), "chart.svg"), filepath.Join(t.TempDir(), "trace.csv")
	for path, text := range map[string]string{law: "name: mine\ntarget: 7\n", trace: tide(t, p, "history", "--csv")} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	played := []string{"simulate", "--since", "1h", "--json", "--law", law, "--svg", chart}
	if err := json.Unmarshal([]byte(tide(t, p, played...)), &simulated); err != nil {
		t.Fatal(err)
	}
	if len(simulated.Laws) < 9 || simulated.Laws[0].Law != "springtide" || simulated.Laws[1].Law != "mine" || simulated.Laws[0].Requests == 0 {
		t.Errorf("%+v", simulated)
	}
	if drawn, err := os.ReadFile(chart); err != nil || !strings.HasPrefix(string(drawn), "<svg") || !strings.Contains(string(drawn), "mine") {
		t.Errorf("the chart: %v, %.100s", err, drawn)
	}
	if minutes := strings.Count(tide(t, p, "history", "--csv"), "\n") - 1; minutes > 1 { // a trace has two at least
		if told := tide(t, p, "simulate", "--trace", trace); !strings.Contains(told, "LAW ") || !strings.Contains(told, "clairvoyant") {
			t.Errorf("tide simulate --trace:\n%s", told)
		}
	}
	status, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(status.IsolationNotes, "; "); strings.Contains(notes, "limits are not enforced") {
		t.Logf("what instances use is not measured here: %s", notes)
		return
	}
	story.Eventually(t, "samples of what it uses", time.Minute, func() bool {
		all, err := p.Client.Recommendations(t.Context(), radio)
		return err == nil && len(all) == 1 && all[0].Samples > 0 && all[0].Recommended.Memory > 8<<20 && all[0].Recommended.CPU > 0
	})
	if told := tide(t, p, "rightsize"); !strings.Contains(told, "limits: { cpu:") {
		t.Errorf("tide rightsize:\n%s", told)
	}
}
