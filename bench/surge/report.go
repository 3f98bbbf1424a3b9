package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/springtide/springtide/bench/figures"
	"github.com/springtide/springtide/bench/load"
)

// row is what one step did to those who use the app.
type row struct {
	Subject  string `json:"subject"`
	Round    int    `json:"round"`
	Requests int    `json:"requests"`
	// Failed have no whole and correct answer, or one that says it was refused.
	Failed int `json:"failed"`
	// Late are answered, but more than a second after they were due, or were due
	// for so long when the run ended.
	Late int `json:"late"`
	// Capacity is from the step until there were as many instances ready as serve
	// the rate if none is ever idle; nil: it did not come to that.
	Capacity *float64 `json:"capacity_s"`
	// InTime is from the step until the last request was due that failed or was late.
	InTime *float64 `json:"in_time_s"`
	// Paid is of the time after the step, Peak the most instances there were at once.
	Paid   float64 `json:"instance_seconds"`
	Peak   int     `json:"peak_instances"`
	Phases *phases `json:"phases,omitempty"`
	// Decisions of the platform's law, each with the seconds since the step.
	Decisions []string `json:"decisions,omitempty"`
	Reasons   []string `json:"failures,omitempty"`
}

func (r *round) row(s subject, result load.Result, p *phases) row {
	step := r.step()
	got := row{
		Subject: s.name, Round: r.number, Requests: result.Requests, Failed: result.Failed, Late: result.Cancelled,
		Paid: r.watch.paid(step, step.Add(r.surge)), Peak: r.watch.most, Phases: p,
	}
	bad := 0.0
	for _, interval := range result.Intervals {
		got.Late += interval.Late
		if interval.Late+interval.Failed > 0 {
			bad = max((interval.From + fine - r.calm).Seconds(), 0)
		}
	}
	if result.Cancelled == 0 && bad < r.surge.Seconds() {
		got.InTime = &bad
	}
	if ready := r.watch.ready(); len(ready) >= r.needed(r.peak()) {
		after := max(ready[r.needed(r.peak())-1].Ready.Sub(step).Seconds(), 0)
		got.Capacity = &after
	}
	for _, failure := range result.Failures {
		got.Reasons = append(got.Reasons, failure.String())
	}
	return got
}

// String gives one line, and more where there is more to say.
func (r row) String() string {
	line := fmt.Sprintf("%s: %d requests, %d failed, %d late, capacity after %s s, in time after %s s, %.0f instance-seconds, at most %d instances",
		r.Subject, r.Requests, r.Failed, r.Late, seconds(r.Capacity), seconds(r.InTime), r.Paid, r.Peak)
	if p := r.Phases; p != nil {
		line += fmt.Sprintf("\n  ordered %.2f, started +%.2f, listening +%.2f, ready +%.2f, first request +%.2f s", p.Ordered, p.Started, p.Listening, p.Ready, p.Request)
	}
	return strings.Join(append([]string{line}, r.Reasons...), "\n  ")
}

func seconds(s *float64) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", *s)
}

// summary is what is quoted of one subject.
type summary struct {
	Subject string         `json:"subject"`
	Rounds  int            `json:"rounds"`
	Failed  figures.Spread `json:"failed"`
	Late    figures.Spread `json:"late_percent"`
	// Capacity and InTime are nil unless every round came to it.
	Capacity *figures.Spread `json:"capacity_s"`
	InTime   *figures.Spread `json:"in_time_s"`
	Paid     figures.Spread  `json:"instance_seconds"`
	Peak     figures.Spread  `json:"peak_instances"`
	// Own is the start of the app by itself, Beyond what of Capacity is not.
	Own    *figures.Spread `json:"own_start_s,omitempty"`
	Beyond *figures.Spread `json:"beyond_own_start_s,omitempty"`
}

func summaries(o options, rows []row) []summary {
	var list []summary
	for _, s := range o.all() {
		var of []row
		for _, r := range rows {
			if r.Subject == s.name {
				of = append(of, r)
			}
		}
		if len(of) > 0 {
			list = append(list, summarize(s.name, of))
		}
	}
	return list
}

func summarize(name string, rows []row) summary {
	spread := func(value func(row) *float64) *figures.Spread {
		var values []float64
		for _, r := range rows {
			if v := value(r); v != nil {
				values = append(values, *v)
			}
		}
		if len(values) < len(rows) {
			return nil
		}
		s := figures.SpreadOf(values)
		return &s
	}
	always := func(value func(row) float64) figures.Spread {
		return *spread(func(r row) *float64 { v := value(r); return &v })
	}
	phase := func(value func(row) float64) *figures.Spread {
		return spread(func(r row) *float64 {
			if r.Phases == nil {
				return nil
			}
			v := value(r)
			return &v
		})
	}
	return summary{
		Subject: name, Rounds: len(rows),
		Failed:   always(func(r row) float64 { return float64(r.Failed) }),
		Late:     always(func(r row) float64 { return 100 * float64(r.Late) / float64(r.Requests) }),
		Capacity: spread(func(r row) *float64 { return r.Capacity }), InTime: spread(func(r row) *float64 { return r.InTime }),
		Paid: always(func(r row) float64 { return r.Paid }), Peak: always(func(r row) float64 { return float64(r.Peak) }),
		Own:    phase(func(r row) float64 { return r.Phases.Listening }),
		Beyond: phase(func(r row) float64 { return *r.Capacity - r.Phases.Listening }),
	}
}

// report prints the figures. That our own law loses a request is an error.
func report(o options, rows []row) error {
	list := summaries(o, rows)
	if o.json {
		if err := errors.Join(figures.Encode(os.Stdout, rows), figures.Encode(os.Stdout, list)); err != nil {
			return err
		}
	} else {
		table(list)
	}
	for _, r := range rows {
		if r.Subject == o.all()[0].name && r.Failed > 0 {
			return fmt.Errorf("%d requests failed in round %d", r.Failed, r.Round)
		}
	}
	return nil
}

func table(list []summary) {
	optional := func(s *figures.Spread) string {
		if s == nil {
			return "-"
		}
		return s.Format("%.2f")
	}
	fmt.Println("| | failed | late, % | capacity after, s | of it beyond the app's own start, s | in time after, s | instance-seconds | most instances |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, s := range list {
		fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", s.Subject, s.Failed.Format("%.0f"), s.Late.Format("%.2f"),
			optional(s.Capacity), optional(s.Beyond), optional(s.InTime), s.Paid.Format("%.0f"), s.Peak.Format("%.0f"))
	}
}
