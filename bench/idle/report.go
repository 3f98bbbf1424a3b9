package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/springtide/springtide/bench/figures"
)

// row is what the platform used in one case.
type row struct {
	Case      string `json:"case"`
	Subject   string `json:"subject"`
	Round     int    `json:"round"`
	Apps      int    `json:"apps"`
	Instances int    `json:"instances"`
	// Total is the memory of all processes in bytes, Memory that of each kind.
	Total  int64            `json:"memory_bytes"`
	Memory map[string]int64 `json:"memory_bytes_of"`
	// CPU is in percent of one core.
	CPU float64 `json:"cpu_percent"`
}

// String gives one line.
func (r row) String() string {
	return fmt.Sprintf("%s: %.1f MB (supervisor %.1f, control %.1f, edge %.1f, inits %.1f), %.2f %% of a core", r.Case, megabytes(r.Total),
		megabytes(r.Memory["supervisor"]), megabytes(r.Memory["control"]), megabytes(r.Memory["edge"]), megabytes(r.Memory["init"]), r.CPU)
}

// summary is what is quoted of one case.
type summary struct {
	Case    string         `json:"case"`
	Subject string         `json:"subject"`
	Rounds  int            `json:"rounds"`
	Memory  figures.Spread `json:"memory_mb"`
	CPU     figures.Spread `json:"cpu_percent"`
	// PerApp is what each app beyond the first adds, in kB.
	PerApp *figures.Spread `json:"memory_kb_per_app,omitempty"`
}

func summaries(rows []row) []summary {
	var list []summary
	for _, first := range rows {
		if first.Round != 1 {
			continue
		}
		var memory, cpu, growth []float64
		for _, r := range rows {
			if r.Case != first.Case {
				continue
			}
			memory, cpu = append(memory, megabytes(r.Total)), append(cpu, r.CPU)
			one := slices.IndexFunc(rows, func(o row) bool { return o.Round == r.Round && o.Apps == 1 && o.Instances == 0 })
			if one >= 0 && r.Apps > 1 {
				growth = append(growth, float64(r.Total-rows[one].Total)/1000/float64(r.Apps-1))
			}
		}
		s := summary{Case: first.Case, Subject: "tide", Rounds: len(memory), Memory: figures.SpreadOf(memory), CPU: figures.SpreadOf(cpu)}
		if len(growth) > 0 {
			perApp := figures.SpreadOf(growth)
			s.PerApp = &perApp
		}
		list = append(list, s)
	}
	return list
}

func report(o options, rows []row) error {
	list := summaries(rows)
	if o.json {
		return errors.Join(figures.Encode(os.Stdout, rows), figures.Encode(os.Stdout, list))
	}
	fmt.Println("| case | memory, MB (min to max) | of one core, % (min to max) | each further app, kB |")
	fmt.Println("|---|---|---|---|")
	for _, s := range list {
		perApp := "-"
		if s.PerApp != nil {
			perApp = fmt.Sprintf("%.0f", s.PerApp.Median)
		}
		fmt.Printf("| %s | %s | %s | %s |\n", s.Case, s.Memory.Format("%.1f"), s.CPU.Format("%.2f"), perApp)
	}
	return nil
}

// megabytes are of 1,000,000 bytes.
func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }
