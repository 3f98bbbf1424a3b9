package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/springtide/springtide/bench/figures"
)

// row is what one subject did in one case of one round.
type row struct {
	Case    string `json:"case"`
	Subject string `json:"subject"`
	Round   int    `json:"round"`
	Jobs    int    `json:"jobs"`
	// Rate is in jobs a second; it is given in the pick-up case.
	Rate float64 `json:"jobs_per_second"`
	// CPU is of the subject's process and its server together, in seconds for a
	// thousand jobs; Own is of the process alone.
	CPU float64 `json:"cpu_seconds_per_1000"`
	Own float64 `json:"own_cpu_seconds_per_1000"`
	P50 float64 `json:"p50_ms,omitempty"`
	P99 float64 `json:"p99_ms,omitempty"`
}

func newRow(subject string, round int, f figure) row {
	thousands := float64(f.Jobs) / 1000
	return row{
		Case: f.Case, Subject: subject, Round: round, Jobs: f.Jobs, Rate: float64(f.Jobs) / f.Took.Seconds(),
		CPU: f.CPU.Seconds() / thousands, Own: f.Own.Seconds() / thousands, P50: milliseconds(f.P50), P99: milliseconds(f.P99),
	}
}

// String gives one line.
func (r row) String() string {
	line := fmt.Sprintf("%-34s %-22s %7.0f jobs/s, %.3f s of CPU per 1,000 (%.3f its own)", r.Subject, r.Case, r.Rate, r.CPU, r.Own)
	if r.Case == pickUpCase {
		line += fmt.Sprintf(", p50 %.1f ms, p99 %.1f ms", r.P50, r.P99)
	}
	return line
}

// summary is what is quoted of one subject in one case.
type summary struct {
	Case    string         `json:"case"`
	Subject string         `json:"subject"`
	Rounds  int            `json:"rounds"`
	Rate    figures.Spread `json:"jobs_per_second"`
	CPU     figures.Spread `json:"cpu_seconds_per_1000"`
	P50     figures.Spread `json:"p50_ms"`
	P99     figures.Spread `json:"p99_ms"`
}

// ratio compares a subject of ours with a peer, round by round: above 1 ours is
// the faster, or needs less.
type ratio struct {
	Case    string `json:"case"`
	Subject string `json:"subject"`
	Peer    string `json:"peer"`
	// Rate is left out where it is given.
	Rate *figures.Spread `json:"rate_ratio,omitempty"`
	CPU  figures.Spread  `json:"cpu_ratio"`
}

// peers are whom each of ours is compared with.
func peers() [][2]string {
	return [][2]string{
		{"tide, PostgreSQL", "River, PostgreSQL"},
		{"tide, PostgreSQL", "asynq, fsync always"},
		{"tide, PostgreSQL", "poller like Cavalcade, PostgreSQL"},
		{"tide, SQLite", "River, SQLite"},
		{"tide, SQLite", "asynq, fsync always"},
	}
}

func summaries(rows []row) (list []summary) {
	for _, first := range rows {
		if first.Round != 1 {
			continue
		}
		var rate, cpu, p50, p99 []float64
		for _, r := range rows {
			if r.Case == first.Case && r.Subject == first.Subject {
				rate, cpu, p50, p99 = append(rate, r.Rate), append(cpu, r.CPU), append(p50, r.P50), append(p99, r.P99)
			}
		}
		list = append(list, summary{first.Case, first.Subject, len(rate), figures.SpreadOf(rate), figures.SpreadOf(cpu), figures.SpreadOf(p50), figures.SpreadOf(p99)})
	}
	slices.SortStableFunc(list, func(a, b summary) int { return slices.Index(cases(), a.Case) - slices.Index(cases(), b.Case) })
	return list
}

func ratios(rows []row) (list []ratio) {
	for _, name := range cases() {
		for _, pair := range peers() {
			var rate, cpu []float64
			for _, r := range rows {
				peer := slices.IndexFunc(rows, func(p row) bool { return p.Case == name && p.Subject == pair[1] && p.Round == r.Round })
				if r.Case == name && r.Subject == pair[0] && peer >= 0 {
					rate, cpu = append(rate, r.Rate/rows[peer].Rate), append(cpu, rows[peer].CPU/r.CPU)
				}
			}
			if len(rate) == 0 {
				continue
			}
			compared := ratio{Case: name, Subject: pair[0], Peer: pair[1], CPU: figures.SpreadOf(cpu)}
			if name != pickUpCase {
				rates := figures.SpreadOf(rate)
				compared.Rate = &rates
			}
			list = append(list, compared)
		}
	}
	return list
}

func cases() []string { return []string{singlesCase, batchesCase, workCase, pickUpCase} }

func report(o options, rows []row) error {
	list, compared := summaries(rows), ratios(rows)
	if o.json {
		return errors.Join(figures.Encode(os.Stdout, rows), figures.Encode(os.Stdout, list), figures.Encode(os.Stdout, compared))
	}
	fmt.Println("| case | subject | jobs/s: median (min to max) | CPU seconds per 1,000 jobs | p50, ms | p99, ms |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, s := range list {
		p50, p99 := "-", "-"
		if s.Case == pickUpCase {
			p50, p99 = s.P50.Format("%.1f"), s.P99.Format("%.1f")
		}
		fmt.Printf("| %s | %s | %s | %s | %s | %s |\n", s.Case, s.Subject, s.Rate.Format("%.0f"), s.CPU.Format("%.3f"), p50, p99)
	}
	fmt.Println("\n| case | ours | peer | our rate to its | its CPU to ours |")
	fmt.Println("|---|---|---|---|---|")
	for _, r := range compared {
		rate := "-"
		if r.Rate != nil {
			rate = r.Rate.Format("%.2f")
		}
		fmt.Printf("| %s | %s | %s | %s | %s |\n", r.Case, r.Subject, r.Peer, rate, r.CPU.Format("%.2f"))
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
