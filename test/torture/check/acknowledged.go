package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// checkAcknowledged looks for what somebody was told that the ledger has. Each
// line is "job KEY RUN", "batch NAME" or "result RUN FENCE VERDICT".
func checkAcknowledged(b *book, notes io.Reader, r *report) error {
	type settled struct {
		run     string
		fence   int64
		verdict string
	}
	keys, batches, results := map[string]string{}, map[string]bool{}, map[settled]bool{}
	for _, run := range b.runs {
		if run.key == "" {
			continue
		}
		if other := keys[run.key]; other != "" {
			r.violation("the key %s has two runs: %s and %s", run.key, other, identifier(run.number))
		}
		keys[run.key] = identifier(run.number)
	}
	for _, batch := range b.batches {
		batches[batch.name] = true
	}
	for _, e := range b.events {
		results[settled{identifier(e.run), e.settled, e.verdict}] = true
	}
	jobs, lost, accepted := 0, 0, 0
	lines := bufio.NewScanner(notes)
	for lines.Scan() {
		line := lines.Text()
		var s settled
		switch fields := strings.Fields(line); {
		case len(fields) == 3 && fields[0] == "job":
			jobs++
			if keys[fields[1]] != fields[2] {
				lost++
				r.violation("the job %s was acknowledged as run %s, and is lost: its key has %q", fields[1], fields[2], keys[fields[1]])
			}
		case len(fields) == 2 && fields[0] == "batch":
			if !batches[fields[1]] {
				r.violation("the batch %s was acknowledged, and is lost", fields[1])
			}
		case len(fields) == 4 && fields[0] == "result":
			accepted++
			if _, err := fmt.Sscan(fields[2], &s.fence); err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			s.run, s.verdict = fields[1], fields[3]
			if !results[s] {
				r.violation("a result was acknowledged, and is lost: run %s, fence %s, %s", fields[1], fields[2], fields[3])
			}
		default:
			return fmt.Errorf("%q says nothing", line)
		}
	}
	r.number("jobs acknowledged", jobs)
	r.number("jobs acknowledged and lost", lost)
	r.number("results acknowledged", accepted)
	return lines.Err()
}
