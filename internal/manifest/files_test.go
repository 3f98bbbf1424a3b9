package manifest

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

func TestFilesMayBeServedAndMayBeInABucket(t *testing.T) {
	m := parse(t, `
app: shop
processes: { web: ./web }
files:
  uploads: { path: /data/uploads, public: /media/, signed: true }
environments:
  staging: { files: { uploads: { s3: "s3://mine/staging?endpoint=https://s3.example.com" } } }
  local: { files: { uploads: /tmp/uploads } }
`)
	for name, want := range map[springtide.EnvironmentName]springtide.Files{
		springtide.Production: {Path: "/data/uploads", Public: "/media", Signed: true},
		"staging":             {Bucket: "s3://mine/staging?endpoint=https://s3.example.com"},
		"local":               {Path: "/tmp/uploads", Public: "/media", Signed: true},
	} {
		if d := cmp.Diff(want, m.App(name).Files["uploads"]); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	var lines []string
	for _, change := range Difference(m.App(springtide.Production), m.App("staging")) {
		lines = append(lines, change.String())
	}
	for _, line := range []string{
		"- files.uploads.public: /media (routing only)",
		"files.uploads.signed: true → false (routing only)",
		"+ files.uploads.s3: s3://mine/staging?endpoint=https://s3.example.com (restart of every process)",
	} {
		if !slices.Contains(lines, line) {
			t.Errorf("%q is not told in\n%q", line, lines)
		}
	}
}
