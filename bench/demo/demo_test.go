package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/load"
)

// short is a demo of a few seconds.
func short() plan {
	return plan{
		low: 5, high: 100, calm: 500 * time.Millisecond, plateau: 4 * time.Second, ebb: 500 * time.Millisecond,
		deploy: 500 * time.Millisecond, killInstance: 1500 * time.Millisecond, killControl: 2 * time.Second, streams: 2,
	}
}

// demonstrate tells the story with the fake.
func demonstrate(t *testing.T, ctx context.Context, kind string, change func(*options)) (result, string, error) {
	t.Helper()
	t.Setenv("DEMO_FAKE_TIDE", kind)
	t.Setenv("TMPDIR", t.TempDir())
	o := options{tide: os.Args[0], app: appFolder(t), https: freeAddress(t), http: freeAddress(t), plan: short()}
	if change != nil {
		change(&o)
	}
	var out bytes.Buffer
	r, err := tell(ctx, o, &out)
	t.Log(out.String())
	return r, out.String(), err
}

func appFolder(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range map[string]string{"tide.yaml": "app: quiz\n", "version.go": "package main\n\nconst Version = \"0\"\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestTheDemoShowsADeployAndTwoKillsUnderLoad(t *testing.T) {
	r, out, err := demonstrate(t, t.Context(), "good", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.verdict(); err != nil {
		t.Fatal(err)
	}
	if r.Load.Requests < 300 || r.Load.Releases["1"] == 0 || r.Load.Releases["2"] == 0 {
		t.Errorf("%d requests, releases %v", r.Load.Requests, r.Load.Releases)
	}
	if r.Needed == 0 || r.ReadyAfter < 0 || r.Adopted == 0 || r.Killed == "" {
		t.Errorf("needed %d, ready after %v, adopted %d, killed %q", r.Needed, r.ReadyAfter, r.Adopted, r.Killed)
	}
	for _, want := range []string{"https://quiz.localhost:", "kill -9 of the control plane", "requests", "step to capacity", "nothing is left running", "█", "starting instances", "build 1.5 s"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	first, _, _ := strings.Cut(out, "\n")
	if !strings.Contains(first, "https://quiz.localhost:") {
		t.Errorf("the first line is %q", first)
	}
}

func TestAFailedRequestFailsTheDemo(t *testing.T) {
	r, out, err := demonstrate(t, t.Context(), "failing", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.verdict(); err == nil || !strings.Contains(err.Error(), "requests failed") {
		t.Errorf("the verdict is %v", err)
	}
	if !strings.Contains(out, "version: status 502") {
		t.Error("the output does not say why")
	}
}

func TestAProcessThatIsLeftRunningIsAnErrorAndIsEnded(t *testing.T) {
	_, _, err := demonstrate(t, t.Context(), "leaky", nil)
	if err == nil || !strings.Contains(err.Error(), "left running") {
		t.Fatalf("got %v", err)
	}
	if left := leftovers(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("%v were not ended", left)
	}
}

func TestAnInterruptedDemoLeavesNothingRunning(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, out, err := demonstrate(t, ctx, "good", func(o *options) { o.plan.plateau = time.Minute })
	if err == nil || err.Error() != "interrupted" || !strings.Contains(out, "nothing is left running") {
		t.Errorf("got %v", err)
	}
}

func TestAPortInUseIsSaidBeforeAnythingIsStarted(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, _, err = demonstrate(t, t.Context(), "good", func(o *options) { o.https = listener.Addr().String() })
	if err == nil || !strings.Contains(err.Error(), "is not free") {
		t.Errorf("got %v", err)
	}
}

func TestTheVersionOfTheCopyIsChangedAndNotOfTheSource(t *testing.T) {
	source, to := appFolder(t), filepath.Join(t.TempDir(), "copy")
	if err := copySource(source, to); err != nil {
		t.Fatal(err)
	}
	if err := setVersion(to, "2"); err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string]string{source: `"0"`, to: `"2"`} {
		if text, err := os.ReadFile(filepath.Join(folder, "version.go")); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %s, %v", folder, text, err)
		}
	}
}

func TestTheBuildCacheOutlivesTheDemo(t *testing.T) {
	kept, data := filepath.Join(t.TempDir(), "kept"), filepath.Join(t.TempDir(), "data")
	if err := takeCache(kept, data); err != nil {
		t.Fatalf("without one: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(data, "cache", "quiz"), 0o755); err != nil {
		t.Fatal(err)
	}
	keepCache(data, kept)
	next := filepath.Join(t.TempDir(), "data")
	if err := takeCache(kept, next); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(next, "cache", "quiz")); err != nil {
		t.Error(err)
	}
}

func TestABuildCacheThatOthersMayWriteIsNotTaken(t *testing.T) {
	kept, data := filepath.Join(t.TempDir(), "kept"), filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(kept, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := takeCache(kept, data); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("it was taken")
	}
}

func TestTheQuizHasTheLineThatTheDemoChanges(t *testing.T) {
	to := filepath.Join(t.TempDir(), "quiz")
	if err := copySource("../../examples/quiz", to); err != nil {
		t.Fatal(err)
	}
	if err := setVersion(to, "2"); err != nil {
		t.Error(err)
	}
}

func TestReadyInstancesAreCountedByRelease(t *testing.T) {
	instance := func(release int, state springtide.InstanceState) springtide.Instance {
		return springtide.Instance{State: state, Group: springtide.GroupID{Release: release}}
	}
	got := countReady([]springtide.Instance{
		instance(1, springtide.InstanceReady), instance(1, springtide.InstanceReady), instance(2, springtide.InstanceReady),
		instance(2, springtide.InstanceStarting), instance(3, springtide.InstanceStarting),
	}, time.Second)
	if got != (sample{At: time.Second, Ready: 3, Serving: 1}) {
		t.Errorf("got %+v", got)
	}
}

func TestCapacityIsThereWhenWhatThePlateauNeedsIsReady(t *testing.T) {
	var samples []sample
	for i := range 100 {
		samples = append(samples, sample{At: time.Duration(i) * pace, Serving: min(1+i/8, 6)})
	}
	if got := needed(samples, 25*time.Second); got != 6 {
		t.Errorf("needed %d", got)
	}
	if after, ok := readyAfter(samples, 5*time.Second, 6); !ok || after != 5*time.Second {
		t.Errorf("after %v, %v", after, ok)
	}
	if _, ok := readyAfter(samples, 5*time.Second, 7); ok {
		t.Error("there never were 7")
	}
}

func TestLatencyIsBackWhenItStaysLowForASecond(t *testing.T) {
	var intervals []load.Interval
	for i, p95 := range []int{900, 100, 100, 900, 100, 100, 100, 100, 900} {
		intervals = append(intervals, load.Interval{From: time.Duration(i) * pace, Latency: load.Latency{P95: time.Duration(p95) * time.Millisecond}})
	}
	if after, ok := fastAfter(intervals, 0, time.Minute); !ok || after != 4*pace {
		t.Errorf("after %v, %v", after, ok)
	}
	if _, ok := fastAfter(intervals, 5*pace, time.Minute); ok {
		t.Error("it was not low for a second")
	}
}

func TestNumbersAreGrouped(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d became %s", n, got)
		}
	}
}
