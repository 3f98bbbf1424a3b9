package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// latencies measures queries by the addresses that instances get: from an
// instance, and from the machine itself, with nothing of the platform in between.
func (b *bench) latencies(ctx context.Context) error {
	// The addresses are hidden from all output: the app tells them by a file.
	if _, err := b.tide(ctx, "run", "--", `echo "$REDIS_URL" > "$FILES_UPLOADS/url"`); err != nil {
		return err
	}
	cache, err := os.ReadFile(filepath.Join(b.uploads(), "url"))
	if err != nil {
		return err
	}
	queries := strconv.Itoa(b.queries)
	for round := 1; round <= b.rounds; round++ {
		for subject, probe := range map[string]func() (string, error){
			"from an instance": func() (string, error) { return b.tide(ctx, "run", "--", "./data -probe "+queries) },
			"directly": func() (string, error) {
				command := exec.CommandContext(ctx, filepath.Join(b.source, "data"), "-probe", queries)
				command.Env = append(os.Environ(), "DATABASE_URL="+b.url, "REDIS_URL="+strings.TrimSpace(string(cache)))
				output, err := command.Output()
				return string(output), err
			},
		} {
			output, err := probe()
			if err != nil {
				return err
			}
			var took answers
			if err := json.Unmarshal([]byte(output[strings.Index(output, "{"):]), &took); err != nil {
				return fmt.Errorf("%w: %s", err, output)
			}
			b.measured(latencyRow("SELECT 42 of PostgreSQL", subject, round, took.Postgres))
			b.measured(latencyRow("GET of Redis", subject, round, took.Redis))
		}
	}
	return nil
}

func latencyRow(what, subject string, round int, took []time.Duration) row {
	microseconds := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return row{
		Case: what, Subject: subject, Round: round,
		P50: microseconds(took[len(took)/2]), P99: microseconds(took[len(took)*99/100]),
	}
}
