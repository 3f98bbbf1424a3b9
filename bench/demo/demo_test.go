package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/load"
)

func TestAFailedRequestFailsTheDemo(t *testing.T) {
	r := result{Load: load.Result{Requests: 100, Failed: 1}}
	if err := r.verdict(); err == nil || !strings.Contains(err.Error(), "1 of 100 requests failed") {
		t.Errorf("the verdict is %v", err)
	}
}

func TestAPortInUseIsSaidBeforeAnythingIsStarted(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	o := options{tide: os.Args[0], app: "../../examples/quiz", https: listener.Addr().String(), http: "127.0.0.1:0", plan: quickPlan()}
	if _, err := tell(t.Context(), o, io.Discard); err == nil || !strings.Contains(err.Error(), "is not free") {
		t.Errorf("got %v", err)
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
	for _, end := range []time.Duration{25 * time.Second, 30 * time.Second} { // the control plane may be away then
		if got := needed(samples, end); got != 6 {
			t.Errorf("needed %d at %s", got, end)
		}
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
