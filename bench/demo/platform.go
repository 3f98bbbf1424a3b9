package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/api"
)

// quiz is the app of the demo.
var quiz = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}

// startPlatform starts `tide serve` and waits until its API answers.
func startPlatform(ctx context.Context, o options, log *bytes.Buffer) (*platform.Platform, error) {
	for _, address := range []string{o.https, o.http} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("%s is not free: %w; choose others with -https and -http", address, err)
		}
		if err := listener.Close(); err != nil {
			return nil, err
		}
	}
	if running := processesOf(o.data); len(running) > 0 {
		return nil, fmt.Errorf("%s is in use by processes %v; choose another folder with -data", o.data, running)
	}
	p, err := platform.Start(ctx, platform.Options{Tide: o.tide, Data: o.data, Output: log, HTTPS: o.https, HTTP: o.http})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, log)
	}
	return p, nil
}

// await tries until there is no error any more.
func await(ctx context.Context, limit time.Duration, what string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s: %w", limit, what, err)
		case <-ticker.C:
		}
	}
}

// deploy brings the source to its traffic, and tells each step.
func deploy(ctx context.Context, p *platform.Platform, folder string, tell func(message string)) (took time.Duration, parts api.Timings, err error) {
	began := time.Now()
	command := p.Command(ctx, "deploy", folder, "--json")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	stdout, err := command.StdoutPipe()
	if err != nil {
		return 0, parts, err
	}
	if err := command.Start(); err != nil {
		return 0, parts, err
	}
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		// One line is an event; the last is the deploy itself.
		var line struct {
			Message string       `json:"message"`
			Timings *api.Timings `json:"timings"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return 0, parts, errors.Join(fmt.Errorf("tide deploy printed %q: %w", lines.Text(), err), command.Wait())
		}
		if line.Timings != nil {
			parts = *line.Timings
		}
		if line.Message != "" {
			tell(line.Message)
		}
	}
	if err := errors.Join(lines.Err(), command.Wait()); err != nil {
		return 0, parts, fmt.Errorf("tide deploy: %w\n%s", err, &stderr)
	}
	return time.Since(began), parts, nil
}
