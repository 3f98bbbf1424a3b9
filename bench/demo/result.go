package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/load"
	"github.com/springtide/springtide/internal/api"
)

// recovered is the p95 below which requests are served as they should be.
const recovered = 250 * time.Millisecond

// result is what the table says.
type result struct {
	Load load.Result `json:"load"`
	// Needed is how many instances the plateau needed, and ReadyAfter when there
	// were so many, since the step; negative: never.
	Needed     int           `json:"needed"`
	ReadyAfter time.Duration `json:"ready_after"`
	// FastAfter is when new requests had a p95 under 250 ms again; negative: never.
	FastAfter time.Duration `json:"fast_after"`
	// Deploy is how long the second deploy took, and DeployParts on what.
	Deploy      time.Duration `json:"deploy"`
	DeployParts api.Timings   `json:"deploy_parts"`
	// Killed is the instance that was killed.
	Killed springtide.InstanceID `json:"killed"`
	// ControlAway is how long there was no control plane, and Adopted how many of
	// the Running instances went on as the same processes.
	ControlAway time.Duration `json:"control_away"`
	Running     int           `json:"running"`
	Adopted     int           `json:"adopted"`
	Samples     []sample      `json:"samples"`
	// told says that the table was printed.
	told bool
}

// conclude works out the rest once the load is over.
func (r *result) conclude(p plan, got load.Result) {
	r.Load = got
	r.Needed = needed(r.Samples, p.calm+p.plateau)
	r.ReadyAfter, r.FastAfter = -1, -1
	if after, ok := readyAfter(r.Samples, p.calm, r.Needed); ok {
		r.ReadyAfter = after
	}
	if after, ok := fastAfter(got.Intervals, p.calm, p.calm+p.plateau); ok {
		r.FastAfter = after
	}
}

// fastAfter is when, after the step, the p95 of new requests was low and stayed
// so for a second.
func fastAfter(intervals []load.Interval, step, end time.Duration) (time.Duration, bool) {
	const lasting = int(time.Second / pace)
	run := 0
	for _, one := range intervals {
		if one.From < step || one.From >= end {
			continue
		}
		run++
		if one.Latency.P95 > recovered {
			run = 0
		}
		if run == lasting {
			return one.From - step - time.Duration(lasting-1)*pace, true
		}
	}
	return 0, false
}

// verdict is an error if the demo did not show what it has to show.
func (r *result) verdict() error {
	var errs []error
	if r.Load.Failed > 0 {
		errs = append(errs, fmt.Errorf("%d of %d requests failed", r.Load.Failed, r.Load.Requests))
	}
	if r.Load.Skipped > 0 {
		errs = append(errs, fmt.Errorf("%d requests were never sent, since too many were open", r.Load.Skipped))
	}
	if r.Adopted < r.Running {
		errs = append(errs, fmt.Errorf("%d of %d instances did not outlive the control plane", r.Running-r.Adopted, r.Running))
	}
	return errors.Join(errs...)
}

// table is what a user is left with.
func (r *result) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("requests", "%s in %.0f s, every answer checked", grouped(r.Load.Requests), r.Load.Elapsed.Seconds())
	row("failed", "%d", r.Load.Failed)
	if r.Load.UnsafeFailed > 0 {
		row("POST failed", "%d (not counted: they must not be repeated)", r.Load.UnsafeFailed)
	}
	row("p50 / p99 / max", "%s / %s / %s", round(r.Load.Latency.P50), round(r.Load.Latency.P99), round(r.Load.Latency.Max))
	row("work of 100 ms", "p50 %s, p99 %s", round(r.Load.Kinds["work"].Latency.P50), round(r.Load.Kinds["work"].Latency.P99))
	line, least, most := r.instances()
	row("instances", "%s  %d to %d", line, least, most)
	row("step to capacity", "%s until p95 was under %s, %s until as many were ready as at the plateau's end (%d)",
		seconds(r.FastAfter), recovered, seconds(r.ReadyAfter), r.Needed)
	row("deploy under load", "%s: build %.1f s, start %.2f s, switch %.3f s", seconds(r.Deploy), r.DeployParts.BuildSeconds, r.DeployParts.StartSeconds, r.DeployParts.SwitchSeconds)
	row("instance killed", "%s", r.Killed)
	row("control plane killed", "away for %s, %d of %d instances ran on", seconds(r.ControlAway), r.Adopted, r.Running)
	row("streams ended", "%s", r.streams())
	w.Flush()
	for _, failure := range r.Load.Failures {
		fmt.Fprintf(&b, "  ! %s\n", failure)
	}
	return b.String()
}

func (r *result) instances() (line string, least, most int) {
	values := make([]float64, len(r.Samples))
	for i, s := range r.Samples {
		values[i] = float64(s.Ready)
		most = max(most, s.Ready)
		if i == 0 || s.Ready < least {
			least = s.Ready
		}
	}
	return load.Sparkline(values, 60), least, most
}

// streams tells the ends that the killed instance accounts for from others.
func (r *result) streams() string {
	drained, failed, killed := 0, 0, 0
	for _, one := range []load.StreamResult{r.Load.WebSockets, r.Load.EventStreams} {
		drained += one.Drained
		failed += one.Errors
		for _, end := range one.Ends {
			if !end.Drained && end.Instance == string(r.Killed) {
				killed++
			}
		}
	}
	return fmt.Sprintf("%d by drain, %d by error, of which %d were open on the killed instance", drained, failed, killed)
}

func seconds(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// round keeps three digits or so.
func round(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}

// grouped writes 13450 as 13,450.
func grouped(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// portOf gives ":8443" of "127.0.0.1:8443".
func portOf(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return ":" + port
}
