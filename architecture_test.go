package springtide_test

import (
	"os"
	"regexp"
	"strings"
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

// Who adds a package says where it belongs.
func TestEveryPackageHasItsPlaceInTheArchitecture(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range allowed {
		if strings.Count(name, "/") > 1 || strings.HasSuffix(name, "test") {
			continue // of its parent's, or a test kit
		}
		if !strings.Contains(string(text), "`"+name+"/") && !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("ARCHITECTURE.md does not name %s", name)
		}
	}
}
