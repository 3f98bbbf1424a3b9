package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/springtide/springtide/bench/figures"
)

// direct is the origin without a proxy before it.
const direct = "direct"

// summary is what is quoted of one subject in one case.
type summary struct {
	Case    string         `json:"case"`
	Subject string         `json:"subject"`
	Rounds  int            `json:"rounds"`
	CPU     figures.Spread `json:"cpu_ms_per_1000_requests"`
	Rate    figures.Spread `json:"requests_per_second"`
	P50     figures.Spread `json:"p50_ms"`
	P99     figures.Spread `json:"p99_ms"`
	Memory  figures.Spread `json:"memory_mib"`
}

// ratio compares ours with a peer, or with the best of some, round by round:
// below 1 ours needs less processor time.
type ratio struct {
	Case string         `json:"case"`
	Peer string         `json:"peer"`
	CPU  figures.Spread `json:"cpu_ratio"`
}

func summaries(rows []row) (list []summary) {
	for _, first := range rows {
		if first.Round != 1 {
			continue
		}
		var cpu, rate, p50, p99, memory []float64
		for _, r := range rows {
			if r.Case == first.Case && r.Subject == first.Subject {
				cpu, rate, memory = append(cpu, r.CPU), append(rate, r.Rate), append(memory, r.Memory)
				p50, p99 = append(p50, r.P50), append(p99, r.P99)
			}
		}
		list = append(list, summary{first.Case, first.Subject, len(cpu), figures.SpreadOf(cpu), figures.SpreadOf(rate), figures.SpreadOf(p50), figures.SpreadOf(p99), figures.SpreadOf(memory)})
	}
	return list
}

// ratios compares ours with the better of nginx and HAProxy, and with the others.
func ratios(rows []row) (list []ratio) {
	for _, c := range cases() {
		for _, peers := range [][]string{{"nginx", "HAProxy"}, {"nginx"}, {"HAProxy"}, {"Varnish"}, {"Caddy"}, {"ReverseProxy"}} {
			compared := ratio{Case: c.Name, Peer: peers[0]}
			if len(peers) > 1 {
				compared.Peer = "the better of nginx and HAProxy"
			}
			var all []float64
			for _, r := range rows {
				if r.Case != c.Name || r.Subject != "tide" {
					continue
				}
				var theirs []float64
				for _, p := range rows {
					if p.Case == r.Case && p.Round == r.Round && slices.Contains(peers, p.Subject) {
						theirs = append(theirs, p.CPU)
					}
				}
				if len(theirs) == len(peers) {
					all = append(all, r.CPU/slices.Min(theirs))
				}
			}
			if len(all) > 0 {
				compared.CPU = figures.SpreadOf(all)
				list = append(list, compared)
			}
		}
	}
	return list
}

func report(o options, rows []row) error {
	list, compared := summaries(rows), ratios(rows)
	if o.json {
		return errors.Join(figures.Encode(os.Stdout, rows), figures.Encode(os.Stdout, list), figures.Encode(os.Stdout, compared))
	}
	for _, c := range cases() {
		if !slices.ContainsFunc(list, func(s summary) bool { return s.Case == c.Name }) {
			continue
		}
		fmt.Printf("\n%s) %s\n\n", c.Name, c.What)
		fmt.Println("| subject | CPU ms per 1,000 requests: median (min to max) | requests/s | p50, ms | p99, ms | memory, MiB |")
		fmt.Println("|---|---|---|---|---|---|")
		for _, s := range list {
			if s.Case == c.Name {
				fmt.Printf("| %s | %s | %.0f | %.2f | %.2f | %.1f |\n", s.Subject, s.CPU.Format("%.1f"), s.Rate.Median, s.P50.Median, s.P99.Median, s.Memory.Median)
			}
		}
	}
	fmt.Println("\n| case | peer | our CPU to its |")
	fmt.Println("|---|---|---|")
	for _, r := range compared {
		fmt.Printf("| %s | %s | %s |\n", r.Case, r.Peer, r.CPU.Format("%.2f"))
	}
	return nil
}
