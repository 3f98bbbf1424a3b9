package observe_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/observe"
)

func newMetrics() *observe.Metrics {
	return observe.NewMetrics(observe.NewEvents(&memory{}, slog.New(slog.DiscardHandler)))
}

// scrape gives the lines that Prometheus reads.
func scrape(t *testing.T, m *observe.Metrics) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	text, err := io.ReadAll(answer.Result().Body)
	if err != nil || answer.Code != 200 {
		t.Fatal(answer.Code, err)
	}
	return string(text)
}

// wantLines checks that the scrape has the lines.
func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			var near []string
			for other := range strings.Lines(text) {
				if strings.HasPrefix(other, name) {
					near = append(near, other)
				}
			}
			t.Errorf("missing: %s\nthere is:\n%s", line, strings.Join(near, ""))
		}
	}
}

func group(id springtide.EnvironmentID, release, generation int) springtide.GroupID {
	return springtide.GroupID{Environment: id, Release: release, Process: springtide.Web, Generation: generation}
}

func demand(id springtide.GroupID) springtide.Demand {
	d := springtide.Demand{
		Group: id, Interval: 100 * time.Millisecond, Arrived: 10, Completed: 8, Held: 2, Busy: 3, BusyTime: 250 * time.Millisecond,
		Waited: 4, HeldTime: 1500 * time.Millisecond, Refused: 1, Failed: 5, Retried: 6, Ejected: 1, Streams: 7, BytesOut: 1000,
		Limited: map[springtide.RatePer]int{springtide.RatePerToken: 2},
	}
	d.Latencies.Add(40 * time.Millisecond)
	d.Latencies.Add(40 * time.Millisecond)
	d.Latencies.Add(700 * time.Millisecond)
	d.Latencies.Add(2 * time.Minute)
	return d
}

func TestWhatEdgesReportIsCountedByGroup(t *testing.T) {
	m := newMetrics()
	m.Edges([]string{"a", "b"})
	one, two := group(quiz, 3, 1), group(quiz, 3, 2) // a restart: the same series
	m.EdgeReport(springtide.EdgeReport{Edge: "a", Demand: []springtide.Demand{demand(one)}})
	m.EdgeReport(springtide.EdgeReport{Edge: "a", Demand: []springtide.Demand{demand(one), demand(two)}})
	m.EdgeReport(springtide.EdgeReport{Edge: "b", Demand: []springtide.Demand{demand(one)}})
	m.EdgeReport(springtide.EdgeReport{Edge: "b"})
	const labels = `{app="quiz",environment="production",process="web",release="3"} `
	const bucket = `tide_edge_request_duration_seconds_bucket{app="quiz",environment="production",process="web",release="3",le=`
	wantLines(t, scrape(t, m),
		"tide_edges_connected 2",
		"tide_edge_requests_total"+labels+"40",
		"tide_edge_held_requests_total"+labels+"16",
		"tide_edge_hold_seconds_total"+labels+"6",
		"tide_edge_busy_seconds_total"+labels+"1",
		"tide_edge_refused_requests_total"+labels+"4",
		"tide_edge_failed_requests_total"+labels+"20",
		"tide_edge_retried_requests_total"+labels+"24",
		"tide_edge_ejections_total"+labels+"4",
		`tide_edge_limited_requests_total{app="quiz",environment="production",per="token",process="web",release="3"} 8`,
		"tide_edge_response_body_bytes_total"+labels+"4000",
		// What is in hand: twice that of edge a, once that of edge b.
		"tide_edge_requests_held"+labels+"6",
		"tide_edge_requests_in_flight"+labels+"9",
		"tide_edge_streams_open"+labels+"21",
		bucket+`"0.025"} 0`,
		bucket+`"0.05"} 8`,
		bucket+`"0.5"} 8`,
		bucket+`"1"} 12`,
		bucket+`"60"} 12`,
		bucket+`"+Inf"} 16`,
		"tide_edge_request_duration_seconds_count"+labels+"16",
	)
	m.Edges([]string{"b"})
	wantLines(t, scrape(t, m), "tide_edges_connected 1", "tide_edge_requests_held"+labels+"2", "tide_edge_requests_total"+labels+"40")
}

func TestFloodsAreThoseOfTheEdgesThatAreConnected(t *testing.T) {
	m := newMetrics()
	m.EdgeReport(springtide.EdgeReport{Edge: "a", Floods: springtide.FloodCounts{Ended: 1, Refused: 20}})
	m.EdgeReport(springtide.EdgeReport{Edge: "a", Floods: springtide.FloodCounts{Ended: 3, Refused: 40}})
	m.EdgeReport(springtide.EdgeReport{Edge: "b", Floods: springtide.FloodCounts{Ended: 4}})
	wantLines(t, scrape(t, m), `tide_edge_flood_connections{result="ended"} 7`, `tide_edge_flood_connections{result="refused"} 40`)
	m.Edges([]string{"b"})
	if got := m.Floods(); got != (springtide.FloodCounts{Ended: 4}) {
		t.Errorf("of the edge that is left: %+v", got)
	}
}

func TestAMachineAtCapacityIsMeasured(t *testing.T) {
	m := newMetrics()
	if text := scrape(t, m); strings.Contains(text, "tide_memory_bytes") {
		t.Error("what is not known is told")
	}
	m.Machine(2000, 3000, map[springtide.GroupID]int{group(quiz, 3, 1): 4, group(quiz, 3, 2): 1})
	wantLines(t, scrape(t, m), "tide_memory_bytes 2000", "tide_memory_wanted_bytes 3000",
		`tide_replicas_short{app="quiz",environment="production",process="web",release="3"} 5`)
	m.Forget(quiz)
	if text := scrape(t, m); strings.Contains(text, "tide_replicas_short{") {
		t.Error("an environment that is gone lacks instances")
	}
}

func TestTheSumOfDurationsIsNearTheTruth(t *testing.T) {
	m := newMetrics()
	d := springtide.Demand{Group: group(quiz, 1, 1)}
	truth := 0.0
	for i := range 1000 {
		took := time.Duration(i+1) * time.Millisecond
		d.Latencies.Add(took)
		truth += took.Seconds()
	}
	m.EdgeReport(springtide.EdgeReport{Edge: "a", Demand: []springtide.Demand{d}})
	for line := range strings.Lines(scrape(t, m)) {
		if value, ok := strings.CutPrefix(line, `tide_edge_request_duration_seconds_sum{app="quiz",environment="production",process="web",release="1"} `); ok {
			sum, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || sum < 0.97*truth || sum > 1.03*truth {
				t.Errorf("the sum is %v, the truth %v (%v)", sum, truth, err)
			}
			return
		}
	}
	t.Error("there is no sum")
}

func TestInstancesAreCountedByState(t *testing.T) {
	m := newMetrics()
	id := group(quiz, 3, 1)
	m.Snapshot(springtide.Snapshot{Instances: []springtide.Instance{
		{ID: "a", Group: id, State: springtide.InstanceReady},
		{ID: "b", Group: id, State: springtide.InstanceReady},
		{ID: "c", Group: id, State: springtide.InstanceStarting},
	}})
	m.Groups([]springtide.Group{{ID: id, Replicas: 3}, {ID: group(quiz, 3, 2), Replicas: 2}})
	const labels = `{app="quiz",environment="production",process="web",release="3"`
	wantLines(t, scrape(t, m),
		"tide_instances"+labels+`,state="ready"} 2`,
		"tide_instances"+labels+`,state="starting"} 1`,
		"tide_replicas_wanted"+labels+`} 5`)
	m.Snapshot(springtide.Snapshot{})
	if text := scrape(t, m); strings.Contains(text, "tide_instances{") {
		t.Errorf("instances that are gone are still counted:\n%s", text)
	}
}

func TestWhatIsOverIsCountedByResult(t *testing.T) {
	m := newMetrics()
	of := springtide.ReleaseID{Environment: quiz, Number: 3}
	m.RolloutOver(springtide.Rollout{Release: of, Step: springtide.RolloutDone}, 2*time.Second)
	m.RolloutOver(springtide.Rollout{Release: of, Step: springtide.RolloutFailed}, time.Minute)
	m.BuildOver(30*time.Second, nil)
	m.BuildOver(time.Second, errors.New("exit status 1"))
	m.Decision(springtide.Decision{Group: group(quiz, 3, 1), From: 1, To: 4})
	m.Decision(springtide.Decision{Group: group(quiz, 3, 1), From: 4, To: 2})
	m.Decision(springtide.Decision{Group: group(quiz, 3, 1), From: 2, To: 2})
	m.TableVersion(1234)
	const labels = `{app="quiz",environment="production",`
	wantLines(t, scrape(t, m),
		"tide_rollouts_total"+labels+`result="done"} 1`,
		"tide_rollouts_total"+labels+`result="failed"} 1`,
		`tide_rollout_duration_seconds_sum{result="failed"} 60`,
		`tide_build_duration_seconds_sum{result="done"} 30`,
		`tide_build_duration_seconds_count{result="failed"} 1`,
		"tide_scale_decisions_total{app=\"quiz\",direction=\"out\",environment=\"production\",process=\"web\"} 1",
		"tide_scale_decisions_total{app=\"quiz\",direction=\"in\",environment=\"production\",process=\"web\"} 1",
		"tide_scale_decisions_total{app=\"quiz\",direction=\"none\",environment=\"production\",process=\"web\"} 1",
		"tide_table_version 1234",
		"tide_events_dropped_total 0")
}

func TestSeriesOfWhatIsGoneAreDropped(t *testing.T) {
	m := newMetrics()
	m.Edges([]string{"a"})
	for release := range 100 {
		m.EdgeReport(springtide.EdgeReport{Edge: "a", Demand: []springtide.Demand{demand(group(quiz, release, release))}})
		m.Groups([]springtide.Group{{ID: group(quiz, release, release), Replicas: 1}})
	}
	m.Decision(springtide.Decision{Group: group(quiz, 99, 99), To: 1})
	m.RolloutOver(springtide.Rollout{Release: springtide.ReleaseID{Environment: quiz}, Step: springtide.RolloutDone}, time.Second)
	text := scrape(t, m)
	for _, name := range []string{"tide_edge_requests_total{", "tide_edge_requests_held{", "tide_replicas_wanted{", "tide_edge_request_duration_seconds_count{"} {
		if count := strings.Count(text, "\n"+name); count != 1 {
			t.Errorf("%d series of %s", count, name)
		}
	}
	m.Forget(quiz)
	if text := scrape(t, m); strings.Contains(text, `app="quiz"`) {
		t.Errorf("series of a destroyed environment are left:\n%s", text)
	}
}

func TestMetricsFollowTheConventions(t *testing.T) {
	m := newMetrics()
	m.EdgeReport(springtide.EdgeReport{Edge: "a", Demand: []springtide.Demand{demand(group(quiz, 1, 1))}})
	m.Groups([]springtide.Group{{ID: group(quiz, 1, 1), Replicas: 1}})
	m.Snapshot(springtide.Snapshot{Instances: []springtide.Instance{{Group: group(quiz, 1, 1), State: springtide.InstanceReady}}})
	m.Decision(springtide.Decision{Group: group(quiz, 1, 1)})
	m.RolloutOver(springtide.Rollout{Step: springtide.RolloutDone}, time.Second)
	m.BuildOver(time.Second, nil)
	text := scrape(t, m)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(text, "\n"+name+" ") {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestMetricsMayBeFedAndReadAtTheSameTime(t *testing.T) {
	m := newMetrics()
	var feeding sync.WaitGroup
	for worker := range 4 {
		feeding.Go(func() {
			for release := range 50 {
				id := group(quiz, release, worker)
				m.EdgeReport(springtide.EdgeReport{Edge: strconv.Itoa(worker), Demand: []springtide.Demand{demand(id)}})
				m.Groups([]springtide.Group{{ID: id, Replicas: 1}})
				m.Edges([]string{strconv.Itoa(worker)})
				m.Snapshot(springtide.Snapshot{Instances: []springtide.Instance{{Group: id, State: springtide.InstanceReady}}})
				if release%10 == 0 {
					scrape(t, m)
				}
			}
		})
	}
	feeding.Wait()
}
