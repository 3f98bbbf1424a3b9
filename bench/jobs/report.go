package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
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

// spread is a median with what it lies between.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	slices.Sort(values)
	return spread{values[len(values)/2], values[0], values[len(values)-1]}
}

func (s spread) format(verb string) string {
	return fmt.Sprintf(strings.ReplaceAll("% (% to %)", "%", verb), s.Median, s.Min, s.Max)
}

// summary is what is quoted of one subject in one case.
type summary struct {
	Case    string `json:"case"`
	Subject string `json:"subject"`
	Rounds  int    `json:"rounds"`
	Rate    spread `json:"jobs_per_second"`
	CPU     spread `json:"cpu_seconds_per_1000"`
	P50     spread `json:"p50_ms"`
	P99     spread `json:"p99_ms"`
}

// ratio compares a subject of ours with a peer, round by round: above 1 ours is
// the faster, or needs less.
type ratio struct {
	Case    string `json:"case"`
	Subject string `json:"subject"`
	Peer    string `json:"peer"`
	// Rate is left out where it is given.
	Rate *spread `json:"rate_ratio,omitempty"`
	CPU  spread  `json:"cpu_ratio"`
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
		list = append(list, summary{first.Case, first.Subject, len(rate), spreadOf(rate), spreadOf(cpu), spreadOf(p50), spreadOf(p99)})
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
			compared := ratio{Case: name, Subject: pair[0], Peer: pair[1], CPU: spreadOf(cpu)}
			if name != pickUpCase {
				rates := spreadOf(rate)
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
		return encode(rows, list, compared)
	}
	fmt.Println("| case | subject | jobs/s: median (min to max) | CPU seconds per 1,000 jobs | p50, ms | p99, ms |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, s := range list {
		p50, p99 := "-", "-"
		if s.Case == pickUpCase {
			p50, p99 = s.P50.format("%.1f"), s.P99.format("%.1f")
		}
		fmt.Printf("| %s | %s | %s | %s | %s | %s |\n", s.Case, s.Subject, s.Rate.format("%.0f"), s.CPU.format("%.3f"), p50, p99)
	}
	fmt.Println("\n| case | ours | peer | our rate to its | its CPU to ours |")
	fmt.Println("|---|---|---|---|---|")
	for _, r := range compared {
		rate := "-"
		if r.Rate != nil {
			rate = r.Rate.format("%.2f")
		}
		fmt.Printf("| %s | %s | %s | %s | %s |\n", r.Case, r.Subject, r.Peer, rate, r.CPU.format("%.2f"))
	}
	return nil
}

func encode(rows []row, list []summary, compared []ratio) error {
	encoder := json.NewEncoder(os.Stdout)
	for _, r := range rows {
		if err := encoder.Encode(r); err != nil {
			return err
		}
	}
	for _, s := range list {
		if err := encoder.Encode(s); err != nil {
			return err
		}
	}
	for _, r := range compared {
		if err := encoder.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
