package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/load"
)

// results are what a run of the benchmark saw.
type results struct {
	rows []row
	load load.Result
}

// The two things that are measured.
const (
	deployCase   = "deploy"
	instanceCase = "instance"
)

// row is what one deploy or the start of one instance took, in milliseconds.
type row struct {
	Case    string `json:"case"`
	Subject string `json:"subject"`
	Round   int    `json:"round"`
	// Total is from the command to its end; for an instance, until it is ready.
	Total float64 `json:"total_ms"`
	// Alone is what the app's start took without a platform just before.
	Alone float64 `json:"app_start_alone_ms"`
	// Command is what the build command took, Build what else belongs to the
	// build: taking the source in, sealing, storing.
	Command float64 `json:"build_command_ms,omitempty"`
	Build   float64 `json:"build_ms,omitempty"`
	// Ordered is how long it took until the engine had the order.
	Ordered float64 `json:"ordered_ms,omitempty"`
	// Start is until the instances were ready, the app's own start included.
	Start  float64 `json:"start_ms"`
	Switch float64 `json:"switch_ms,omitempty"`
	// Beyond is Total without Command and Alone; for an instance, Start without Alone.
	Beyond float64 `json:"beyond_ms"`
}

func newDeployRow(round int, d deployed, alone time.Duration) row {
	r := row{
		Case: deployCase, Subject: "tide", Round: round, Total: milliseconds(d.total), Alone: milliseconds(alone),
		Command: milliseconds(d.command), Build: d.Timings.BuildSeconds*1000 - milliseconds(d.command),
		Start: d.Timings.StartSeconds * 1000, Switch: d.Timings.SwitchSeconds * 1000,
	}
	r.Beyond = r.Total - r.Command - r.Alone
	return r
}

func newInstanceRow(round int, asked time.Time, added springtide.Instance, alone time.Duration) row {
	r := row{
		Case: instanceCase, Subject: "tide", Round: round, Total: milliseconds(added.Ready.Sub(asked)), Alone: milliseconds(alone),
		Ordered: milliseconds(added.Ordered.Sub(asked)), Start: milliseconds(added.Ready.Sub(added.Ordered)),
	}
	r.Beyond = r.Start - r.Alone
	return r
}

// String gives one line.
func (r row) String() string {
	if r.Case == instanceCase {
		return fmt.Sprintf("%4.0f ms, of these until ordered %3.0f, start %3.0f (app alone %3.0f); beyond the app's own start %4.0f",
			r.Total, r.Ordered, r.Start, r.Alone, r.Beyond)
	}
	return fmt.Sprintf("%4.0f ms, of these build command %4.0f, around it %3.0f, start %3.0f (app alone %3.0f), switch %3.0f; beyond build command and own start %4.0f",
		r.Total, r.Command, r.Build, r.Start, r.Alone, r.Switch, r.Beyond)
}

// summary is what is quoted of one case.
type summary struct {
	Case    string  `json:"case"`
	Subject string  `json:"subject"`
	Rounds  int     `json:"rounds"`
	Median  float64 `json:"beyond_ms_median"`
	Min     float64 `json:"beyond_ms_min"`
	Max     float64 `json:"beyond_ms_max"`
	// Requests, Failed and Streams are what the deploys did to those who use the app.
	Requests int `json:"requests,omitempty"`
	Failed   int `json:"failed"`
	Streams  int `json:"streams_ended_by_error"`
}

func (b *results) summary(name string) summary {
	var beyond []float64
	for _, r := range b.rows {
		if r.Case == name {
			beyond = append(beyond, r.Beyond)
		}
	}
	slices.Sort(beyond)
	s := summary{Case: name, Subject: "tide", Rounds: len(beyond), Median: beyond[len(beyond)/2], Min: beyond[0], Max: beyond[len(beyond)-1]}
	if name == deployCase {
		s.Requests, s.Failed = b.load.Requests, b.load.Failed+b.load.UnsafeFailed
		s.Streams = b.load.WebSockets.Errors + b.load.EventStreams.Errors
	}
	return s
}

// report prints the figures; failed requests are an error.
func report(o options, b *bench) error {
	deploys, instances := b.summary(deployCase), b.summary(instanceCase)
	if o.json {
		encoder := json.NewEncoder(os.Stdout)
		for _, r := range b.rows {
			if err := encoder.Encode(r); err != nil {
				return err
			}
		}
		for _, s := range []summary{deploys, instances} {
			if err := encoder.Encode(s); err != nil {
				return err
			}
		}
	} else {
		fmt.Printf("%d deploys under %.0f requests/s: %d of %d requests failed, %d streams ended by error\n",
			deploys.Rounds, o.rate, deploys.Failed, deploys.Requests, deploys.Streams)
		fmt.Printf("  until all traffic is on the new release, beyond the build command and the app's own start: median %.0f ms, min %.0f, max %.0f\n",
			deploys.Median, deploys.Min, deploys.Max)
		fmt.Printf("%d times one more instance: beyond the app's own start: median %.0f ms, min %.0f, max %.0f\n",
			instances.Rounds, instances.Median, instances.Min, instances.Max)
	}
	if deploys.Failed > 0 || deploys.Streams > 0 {
		return fmt.Errorf("%d requests failed, %d streams ended by error\n%s%s",
			deploys.Failed, deploys.Streams, b.load.Summary(), strings.Join(badEnds(b.load), "\n"))
	}
	return nil
}

// badEnds tells how streams ended that did not end well.
func badEnds(result load.Result) []string {
	var lines []string
	for _, streams := range []load.StreamResult{result.WebSockets, result.EventStreams} {
		for _, end := range streams.Ends {
			if !end.Drained {
				lines = append(lines, fmt.Sprintf("a stream of %q ended after %s: %s", end.Instance, end.At.Round(time.Millisecond), end.Reason))
			}
		}
	}
	return lines
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
