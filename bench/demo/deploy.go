package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"time"
)

// timings are the parts of a deploy.
type timings struct {
	Build  float64 `json:"build_seconds"`
	Start  float64 `json:"start_seconds"`
	Switch float64 `json:"switch_seconds"`
}

// deployLine is one line that `tide deploy --json` prints: an event, or in the
// end the deploy itself.
type deployLine struct {
	Kind    string   `json:"kind"`
	Message string   `json:"message"`
	Timings *timings `json:"timings"`
}

// deploy brings the source to its traffic, and tells each step.
func (p *platform) deploy(ctx context.Context, folder string, tell func(message string)) (took time.Duration, parts timings, err error) {
	began := time.Now()
	cmd := exec.CommandContext(ctx, p.tide, "deploy", folder, "--data", p.data, "--json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, parts, err
	}
	if err := cmd.Start(); err != nil {
		return 0, parts, err
	}
	var printed tail
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Fprintf(&printed, "%s\n", lines.Bytes())
		var line deployLine
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue // what cannot be read is shown if the deploy fails
		}
		if line.Timings != nil {
			parts = *line.Timings
		}
		if line.Message != "" {
			tell(line.Message)
		}
	}
	if err := cmd.Wait(); err != nil {
		return 0, parts, fmt.Errorf("tide deploy: %w\n%s%s", err, &printed, &stderr)
	}
	return time.Since(began), parts, nil
}
