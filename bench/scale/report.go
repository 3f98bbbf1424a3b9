package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

func printJSON(out io.Writer, rows []row) error {
	encoder := json.NewEncoder(out)
	for _, r := range rows {
		if err := encoder.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// spread is a median with what it lies between.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(rows []row, value func(row) float64) spread {
	values := make([]float64, len(rows))
	for i, r := range rows {
		values[i] = value(r)
	}
	slices.Sort(values)
	return spread{values[len(values)/2], values[0], values[len(values)-1]}
}

func (s spread) String() string {
	if s.Min == s.Max {
		return fmt.Sprintf("%.4g", s.Median)
	}
	return fmt.Sprintf("%.3g (%.3g-%.3g)", s.Median, s.Min, s.Max)
}

// summary is what is quoted of one subject in one case.
type summary struct {
	Case       string  `json:"summary"`
	Tuned      bool    `json:"tuned"`
	ColdStart  float64 `json:"cold_start_seconds"`
	Subject    string  `json:"subject"`
	Kind       string  `json:"code"`
	Seeds      int     `json:"seeds"`
	Late       spread  `json:"late_percent"`
	Dropped    spread  `json:"dropped"`
	Recover    spread  `json:"recover_seconds"`
	Cost       spread  `json:"instance_seconds_over_clairvoyant"`
	Overshoot  spread  `json:"overshoot"`
	Flaps      spread  `json:"flaps_per_hour"`
	Starts     spread  `json:"starts"`
	FalseAlarm spread  `json:"false_alarm_instance_hours"`
}

func summaries(rows []row) []summary {
	type key struct {
		name, subject string
		cold          float64
	}
	var order []key
	of := map[key][]row{}
	for _, r := range rows {
		k := key{r.Case, r.Subject, r.ColdStart}
		if of[k] == nil {
			order = append(order, k)
		}
		of[k] = append(of[k], r)
	}
	all := make([]summary, 0, len(order))
	for _, k := range order {
		rs := of[k]
		all = append(all, summary{
			Case: k.name, Tuned: rs[0].Tuned, ColdStart: k.cold, Subject: k.subject, Kind: rs[0].Kind, Seeds: len(rs),
			Late:       spreadOf(rs, func(r row) float64 { return r.Late }),
			Dropped:    spreadOf(rs, func(r row) float64 { return float64(r.Dropped) }),
			Recover:    spreadOf(rs, func(r row) float64 { return r.Recover }),
			Cost:       spreadOf(rs, func(r row) float64 { return r.Cost }),
			Overshoot:  spreadOf(rs, func(r row) float64 { return r.Overshoot }),
			Flaps:      spreadOf(rs, func(r row) float64 { return r.Flaps }),
			Starts:     spreadOf(rs, func(r row) float64 { return float64(r.Starts) }),
			FalseAlarm: spreadOf(rs, func(r row) float64 { return r.FalseAlarm }),
		})
	}
	return all
}

// report prints the medians, a table for each case and cold start.
func report(out io.Writer, rows []row, asJSON bool) error {
	all := summaries(rows)
	if asJSON {
		encoder := json.NewEncoder(out)
		for _, s := range all {
			if err := encoder.Encode(s); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	last := ""
	for _, s := range all {
		title := fmt.Sprintf("%s, cold start %gs, %d seeds", s.Case, s.ColdStart, s.Seeds)
		if s.Tuned {
			title += " (tuned on)"
		}
		if title != last {
			fmt.Fprintf(table, "\n%s\n| subject (code)\t| late %%\t| dropped\t| recover s\t| cost\t| overshoot\t| flaps/h\t| starts\t| false alarm h\t|\n", title)
			fmt.Fprintln(table, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
			last = title
		}
		fmt.Fprintf(table, "| %s (%s)\t| %v\t| %v\t| %v\t| %v\t| %v\t| %v\t| %v\t| %v\t|\n", s.Subject, s.Kind, s.Late, s.Dropped, s.Recover, s.Cost, s.Overshoot, s.Flaps, s.Starts, s.FalseAlarm)
	}
	return table.Flush()
}
