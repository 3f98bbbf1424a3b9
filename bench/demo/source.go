package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// versionLine is the constant that makes one version of the quiz differ from
// the next.
const versionLine = `const Version = "[^"]*"`

// copySource copies the app, so that the demo can change it.
func copySource(from, to string) error {
	if _, err := os.Stat(filepath.Join(from, "tide.yaml")); err != nil {
		return fmt.Errorf("no app in %s: %w", from, err)
	}
	return os.CopyFS(to, os.DirFS(from))
}

// setVersion makes a new version of the copied app.
func setVersion(folder, version string) error {
	path := filepath.Join(folder, "version.go")
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	line := regexp.MustCompile(versionLine)
	if !line.Match(source) {
		return fmt.Errorf("%s has no line like %s", path, versionLine)
	}
	changed := line.ReplaceAll(source, fmt.Appendf(nil, "const Version = %q", version))
	return os.WriteFile(path, changed, 0o644)
}
