package springtide_test

import (
	"os"
	"regexp"
	"testing"
)

func TestFilesNamedInTheArchitectureExist(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z_./]+\\.(?:go|sh|service)|(?:internal|cmd|bench|test|deploy)/[a-z_/]+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 20 {
		t.Fatalf("only %d files are named", len(named))
	}
	for _, match := range named {
		if _, err := os.Stat(match[1]); err != nil {
			t.Errorf("ARCHITECTURE.md names %s: %v", match[1], err)
		}
	}
}
