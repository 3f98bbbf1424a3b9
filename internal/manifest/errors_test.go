package manifest

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/springtide/springtide"
)

var update = flag.Bool("update", false, "write what is got as what is wanted")

// Each file of testdata/errors holds a manifest and what is said about it.
func TestAMalformedManifestIsExplained(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.txtar")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil || len(archive.Files) != 2 || archive.Files[1].Name != "want" {
				t.Fatalf("want a manifest and its errors: %v", err)
			}
			_, err = Parse(archive.Files[0].Name, archive.Files[0].Data)
			if err == nil {
				t.Fatal("it was accepted")
			}
			if kind := springtide.KindOf(err); kind != springtide.Invalid {
				t.Errorf("the error is %q", kind)
			}
			got := []byte(err.Error() + "\n")
			if *update {
				archive.Files[1].Data = got
				if err := os.WriteFile(file, txtar.Format(archive), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if want := archive.Files[1].Data; !bytes.Equal(got, want) {
				t.Error(cmp.Diff(string(want), string(got)))
			}
		})
	}
}
