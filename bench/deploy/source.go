package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/springtide/springtide/bench/platform"
)

// source is a copy of the app whose build command tells how long it took, so
// that all else that a build is made of counts as the platform's.
type source struct{ folder string }

var (
	commandLine = regexp.MustCompile(`build: \{ command: "([^"]*)" \}`)
	tookLine    = regexp.MustCompile(`^the build command took (\d+) ns$`)
)

func newSource(from, to string) (*source, error) {
	if err := platform.CopyApp(from, to); err != nil {
		return nil, err
	}
	path := filepath.Join(to, "tide.yaml")
	manifest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !commandLine.Match(manifest) {
		return nil, fmt.Errorf("%s has no line like %s", path, commandLine)
	}
	timed := commandLine.ReplaceAll(manifest,
		[]byte(`build: { command: "began=$$(date +%s%N); $1 && echo the build command took $$(($$(date +%s%N) - began)) ns" }`))
	return &source{to}, os.WriteFile(path, timed, 0o644)
}

// took reads what the build command says of itself.
func took(line string) (time.Duration, bool) {
	match := tookLine.FindStringSubmatch(line)
	if match == nil {
		return 0, false
	}
	nanoseconds, err := strconv.ParseInt(match[1], 10, 64)
	return time.Duration(nanoseconds), err == nil
}

// buildAlone builds the app as it is now beside its source.
func (s *source) buildAlone(ctx context.Context) (binary string, err error) {
	binary = s.folder + ".alone"
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	build.Dir = s.folder
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, output)
	}
	return binary, nil
}
