package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/springtide/springtide/bench/figures"
)

// row is what one round of a subject has shown in a case.
type row struct {
	Case    string `json:"case"`
	Subject string `json:"subject"`
	Round   int    `json:"round"`
	// Seconds is how long it took; CPU is the processor time, in seconds, of all who
	// took part; Bytes is what it takes where it is kept.
	Seconds float64 `json:"seconds,omitempty"`
	CPU     float64 `json:"cpu_seconds,omitempty"`
	Bytes   int64   `json:"bytes,omitempty"`
	// P50 and P99 are of queries, in microseconds.
	P50 float64 `json:"p50_us,omitempty"`
	P99 float64 `json:"p99_us,omitempty"`
}

// String gives one line.
func (r row) String() string {
	if r.P50 > 0 {
		return fmt.Sprintf("%s, %s: p50 %.0f us, p99 %.0f us", r.Case, r.Subject, r.P50, r.P99)
	}
	return fmt.Sprintf("%s, %s: %.1f s, %.1f s of processor, %d MiB", r.Case, r.Subject, r.Seconds, r.CPU, r.Bytes>>20)
}

// told writes a spread, if the case has one.
func told(s figures.Spread, verb string) string {
	if s.Max == 0 {
		return "-"
	}
	return s.Format(verb)
}

// summary is what is quoted of a subject in a case.
type summary struct {
	Case    string         `json:"case"`
	Subject string         `json:"subject"`
	Rounds  int            `json:"rounds"`
	Seconds figures.Spread `json:"seconds"`
	CPU     figures.Spread `json:"cpu_seconds"`
	MiB     figures.Spread `json:"mebibytes"`
	P50     figures.Spread `json:"p50_us"`
	P99     figures.Spread `json:"p99_us"`
}

func summaries(rows []row) []summary {
	var list []summary
	for _, first := range rows {
		if first.Round != 1 {
			continue
		}
		of := func(value func(row) float64) figures.Spread {
			var values []float64
			for _, r := range rows {
				if r.Case == first.Case && r.Subject == first.Subject {
					values = append(values, value(r))
				}
			}
			return figures.SpreadOf(values)
		}
		rounds := 0
		s := summary{
			Case: first.Case, Subject: first.Subject,
			Seconds: of(func(r row) float64 { rounds++; return r.Seconds }),
			CPU:     of(func(r row) float64 { return r.CPU }), MiB: of(func(r row) float64 { return float64(r.Bytes) / (1 << 20) }),
			P50: of(func(r row) float64 { return r.P50 }), P99: of(func(r row) float64 { return r.P99 }),
		}
		s.Rounds = rounds
		list = append(list, s)
	}
	return list
}

func report(o options, rows []row) error {
	list := summaries(rows)
	if o.json {
		return errors.Join(figures.Encode(os.Stdout, rows), figures.Encode(os.Stdout, list))
	}
	fmt.Println("| case | subject | seconds: median (min to max) | processor, s | kept, MiB |")
	fmt.Println("|---|---|---|---|---|")
	for _, s := range list {
		if s.P50.Max == 0 {
			fmt.Printf("| %s | %s | %s | %s | %s |\n", s.Case, s.Subject, told(s.Seconds, "%.1f"), told(s.CPU, "%.1f"), told(s.MiB, "%.0f"))
		}
	}
	fmt.Println("\n| query | | p50, us | p99, us |")
	fmt.Println("|---|---|---|---|")
	for _, s := range list {
		if s.P50.Max > 0 {
			fmt.Printf("| %s | %s | %s | %s |\n", s.Case, s.Subject, told(s.P50, "%.0f"), told(s.P99, "%.0f"))
		}
	}
	return nil
}
