package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/springtide/springtide/internal/simulate"
)

// day is in seconds.
const day = 24 * 3600

// given are the traces of the folder, and what is made of them.
func given() ([]simulate.Trace, error) {
	var all []simulate.Trace
	var failed error
	add := func(name, file, column string, factor float64, from, length, step int, tuned bool) simulate.Trace {
		t, err := simulate.OpenTrace("traces/"+file, column, factor, from, length)
		if err != nil && failed == nil {
			failed = err
		}
		t.Name, t.Step, t.Tuned = name, step, tuned
		return t
	}
	show := add("chart show x20", "chartshow_a_x20.csv", "", 1, 0, 0, 1800, true)
	late := add("chart show, 7 min late", "chartshow_b_late7min.csv", "", 1, 0, 0, 1800+420, true)
	never := add("chart show, nobody comes", "chartshow_c_noshow.csv", "", 1, 0, 0, -1, true)
	from, to := 1800*time.Second, (1800+3961)*time.Second
	all = append(all, show, announced(show, "chart show x20, announced", from, to, 12), announced(late, "chart show, announced, 7 min late", from, to, 12),
		announced(never, "chart show, announced, nobody comes", from, to, 12),
		add("a day of functions", "azfunc2019_day_per_minute.csv", "", 1, 0, 0, -1, true),
		add("World Cup, 15 June", "wc98_per_minute_1998-06-08_07-13.csv", "", 0.5, 7*day, day, -1, true),
		add("World Cup, 26 June", "wc98_per_minute_1998-06-08_07-13.csv", "", 0.5, 18*day, day, -1, false),
		add("World Cup, 30 June", "wc98_per_minute_1998-06-08_07-13.csv", "", 0.5, 22*day, day, -1, false),
		add("load balancer x400", "nab_elb_request_count_5min.csv", "", 400, 3*day, 2*day, -1, false),
	)
	all = append(all, shapes()...)
	return all, failed
}

// few are the cases of -quick.
func few(all []simulate.Trace) []simulate.Trace {
	names := []string{
		"chart show x20", "chart show x20, announced", "chart show, announced, nobody comes", "show x40",
		"step x20 at once", "clumps of 10", "square of 10 min",
	}
	return slices.DeleteFunc(all, func(t simulate.Trace) bool { return !slices.Contains(names, t.Name) })
}

// contender is a subject that can be made for a run.
type contender struct {
	Name string
	// Kind says whose code decides: ours, its own, rewritten, or plain.
	Kind string
	make func(simulate.Trace, simulate.Conditions) simulate.Subject
}

func contenders(peers string) []contender {
	all := []contender{
		{"springtide", "the product's", func(t simulate.Trace, c simulate.Conditions) simulate.Subject { return simulate.NewLaw(t, c) }},
		{"Knative", "its own", startProcess(peers+"/knative", time.Second)},
		{"Kubernetes HPA", "its own", startProcess(peers+"/hpa", 5*time.Second)},
		{"KEDA-http", "rewritten", simulate.NewKEDA},
		{"Nomad", "rewritten", simulate.NewNomad},
		{"AWS target tracking", "rewritten", simulate.NewAWS},
		{"Heroku", "rewritten", simulate.NewHeroku},
		{"fixed peak", "plain", simulate.NewFixedPeak},
		{"clairvoyant", "plain", simulate.NewClairvoyant},
	}
	if peers == "" {
		return slices.DeleteFunc(all, func(c contender) bool { return c.Kind == "its own" })
	}
	return all
}

// row is what one subject did in one run.
type row struct {
	Case      string  `json:"case"`
	Tuned     bool    `json:"tuned"`
	Subject   string  `json:"subject"`
	Kind      string  `json:"code"`
	ColdStart float64 `json:"cold_start_seconds"`
	Seed      uint64  `json:"seed"`
	simulate.Figures
	series []simulate.Point
}

func newRow(t simulate.Trace, c simulate.Conditions, k contender, o, base simulate.Outcome) row {
	return row{
		Case: t.Name, Tuned: t.Tuned, Subject: k.Name, Kind: k.Kind, ColdStart: c.ColdStart.Seconds(), Seed: c.Seed,
		Figures: o.Figures(t, base), series: o.Series,
	}
}

// String gives one line.
func (r row) String() string {
	return fmt.Sprintf("%-36s c=%2.0fs seed %d %-20s late %8.4f%% dropped %6d recover %5.1fs cost %5.2f overshoot %5.2f flaps/h %5.1f starts %4d",
		r.Case, r.ColdStart, r.Seed, r.Subject, r.Late, r.Dropped, r.Recover, r.Cost, r.Overshoot, r.Flaps, r.Starts)
}
