package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/springtide/springtide/internal/simulate"
)

var chartColours = map[string]string{
	"clairvoyant": "#999999", "springtide": "#0a58ca", "Knative": "#d9480f", "Kubernetes HPA": "#2b8a3e",
}

// writeCharts draws, for each case with its first cold start and seed, the
// instances that were ordered.
func writeCharts(folder string, traces []simulate.Trace, rows []row) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, t := range traces {
		var lines []simulate.Line
		cold := 0.0
		for _, r := range rows {
			if r.Case == t.Name && r.series != nil && (cold == 0 || r.ColdStart == cold) && chartColours[r.Subject] != "" {
				cold = r.ColdStart
				lines = append(lines, simulate.Line{Name: r.Subject, Colour: chartColours[r.Subject], Series: r.series})
			}
		}
		if len(lines) == 0 {
			continue
		}
		name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(t.Name), "-") + ".svg"
		var chart strings.Builder
		if err := simulate.WriteChart(&chart, fmt.Sprintf("%s, cold start %gs", t.Name, cold), t, lines); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(chart.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
