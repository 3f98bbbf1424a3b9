package secret

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

func sopsFileOf(t *testing.T, name string) []byte {
	t.Helper()
	return must[[]byte](t)(os.ReadFile(filepath.Join("testdata", name)))
}

func TestFilesThatSOPSItselfHasEncryptedAreRead(t *testing.T) {
	keys := string(sopsFileOf(t, "age-keys.txt"))
	yaml := map[springtide.SecretName]string{
		"KEY": `first "value" #1`, "MULTI": "one\ntwo", "NUMBER": "42", "RATIO": "1.5", "YES": "True", "PLAIN_unencrypted": "hello",
	}
	for name, want := range map[string]map[springtide.SecretName]string{
		"sops.env":           {"KEY": `first "value" #1`, "MULTI": "one\ntwo", "EMPTY": "", "URL": "postgres://u:p@h/db"},
		"sops.yaml":          yaml,
		"sops_mac_only.yaml": yaml,
		"sops.json":          {"KEY": `first "value" #1`, "MULTI": "one\ntwo", "NUMBER": "42"},
	} {
		read, err := ImportSOPS(bytes.NewReader(sopsFileOf(t, name)), keys)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := map[springtide.SecretName]string{}
		for name, value := range read {
			got[name] = string(value)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestAFileOfSOPSThatWasChangedIsRefused(t *testing.T) {
	keys := string(sopsFileOf(t, "age-keys.txt"))
	file := string(sopsFileOf(t, "sops.env"))
	lines := strings.SplitAfter(file, "\n")
	for what, changed := range map[string]string{
		"a line left out":     strings.Replace(file, lines[1], "", 1),
		"two values swapped":  strings.NewReplacer("KEY=", "MULTI=", "MULTI=", "KEY=").Replace(file),
		"a value added":       "MORE=x\n" + file,
		"a value in clear":    strings.Replace(file, lines[0], "KEY=mine\n", 1),
		"another time of it":  strings.Replace(file, "lastmodified=20", "lastmodified=21", 1),
		"no recipient":        strings.ReplaceAll(file, "sops_age", "sops_pgp"),
		"no file of SOPS":     "A=1\n",
		"nothing":             "",
		"levels":              string(sopsFileOf(t, "sops_nested.yaml")),
		"a name that is none": strings.Replace(file, "KEY=", "A-B=", 1),
	} {
		_, err := ImportSOPS(strings.NewReader(changed), keys)
		if springtide.KindOf(err) != springtide.Invalid || changed == file {
			t.Errorf("%s: got %v", what, err)
		}
	}
	other := must[*age.X25519Identity](t)(age.GenerateX25519Identity())
	_, err := ImportSOPS(strings.NewReader(file), other.String())
	wantKind(t, err, springtide.Denied)
	_, err = ImportSOPS(strings.NewReader(file), "rubbish")
	wantKind(t, err, springtide.Invalid)
}

func FuzzAFileOfSOPSIsReadOrRefused(f *testing.F) {
	keys, err := os.ReadFile(filepath.Join("testdata", "age-keys.txt"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"sops.env", "sops.yaml", "sops.json", "sops_nested.yaml"} {
		file, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		read, err := ImportSOPS(bytes.NewReader(file), string(keys))
		if kind := springtide.KindOf(err); err != nil && kind != springtide.Invalid && kind != springtide.Denied {
			t.Fatalf("%v, %v", read, err)
		}
	})
}
