package control

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

func TestAnAppWithoutABaseIsRefusedForAClusterWithItsPlaceInTheManifest(t *testing.T) {
	folder := t.TempDir()
	write := func(build string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, "tide.yaml"), []byte("app: page\n"+build+"processes: { web: ./web }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for build, said := range map[string]string{
		"build: { command: \"true\" }\n":        "tide.yaml:2:1: build.base is missing",
		"":                                      "tide.yaml: build.base is missing",
		"build: { base: \"debian:12-slim\" }\n": "",
	} {
		write(build)
		_, err := manifests{needsBase: true}.Read(folder, springtide.Production)
		if said == "" && err != nil || said != "" && (springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), said)) {
			t.Errorf("%q: %v", build, err)
		}
		if _, err := (manifests{}).Read(folder, springtide.Production); err != nil {
			t.Errorf("%q on one machine: %v", build, err)
		}
	}
}
