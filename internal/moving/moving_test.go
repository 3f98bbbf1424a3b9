package moving_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/moving"
)

var quiz = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}

// blobs are what the artifacts of these tests consist of.
type blobs map[springtide.Digest]string

func digestOf(content string) springtide.Digest {
	return springtide.Digest(fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content))))
}

func (b blobs) open(digest springtide.Digest) (io.ReadSeekCloser, error) {
	content, found := b[digest]
	if !found {
		return nil, errors.New("gone")
	}
	return nopCloser{strings.NewReader(content)}, nil
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

func release(number int) springtide.Release {
	return springtide.Release{Environment: quiz, Number: number, Artifact: digestOf("layer"), App: springtide.App{Name: "quiz"}, Config: map[string]string{"A": "b"}}
}

// packed is a quiz that serves release 3, its secrets and its blobs.
func packed() (moving.Inventory, []moving.Secrets, blobs) {
	content := blobs{digestOf("layer"): "layer", digestOf("config"): "config"}
	inventory := moving.Inventory{Format: moving.Format, Version: "v1", Environments: []moving.Packed{
		{ID: quiz, Active: 3, Releases: []springtide.Release{release(1), release(3)}, Secrets: []springtide.SecretName{"KEY"}},
	}}
	for digest, text := range content {
		inventory.Blobs = append(inventory.Blobs, moving.Blob{Digest: digest, Size: int64(len(text))})
	}
	return inventory, []moving.Secrets{{Environment: quiz, Versions: []moving.Secret{{Name: "KEY", Version: 2, Value: []byte("s3cret")}, {Name: "KEY", Version: 3}}}}, content
}

func written(t testing.TB) []byte {
	t.Helper()
	inventory, secrets, content := packed()
	var file bytes.Buffer
	if err := moving.Write(&file, inventory, secrets, content.open); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// readAll reads a file to its end.
func readAll(r io.Reader) (moving.Inventory, map[springtide.EnvironmentID][]moving.Secret, blobs, error) {
	reader, inventory, err := moving.Open(r)
	if err != nil {
		return inventory, nil, nil, err
	}
	secrets, err := reader.Secrets()
	if err != nil {
		return inventory, nil, nil, err
	}
	content := blobs{}
	err = reader.Blobs(func(blob moving.Blob, r io.Reader) error {
		text, err := io.ReadAll(r)
		content[blob.Digest] = string(text)
		return err
	})
	return inventory, secrets, content, err
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	inventory, secrets, content := packed()
	gotInventory, gotSecrets, gotContent, err := readAll(bytes.NewReader(written(t)))
	if err != nil {
		t.Fatal(err)
	}
	sort := func(i *moving.Inventory) map[springtide.Digest]int64 {
		sizes := map[springtide.Digest]int64{}
		for _, blob := range i.Blobs {
			sizes[blob.Digest] = blob.Size
		}
		i.Blobs = nil
		return sizes
	}
	if diff := cmp.Diff(sort(&inventory), sort(&gotInventory)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(inventory, gotInventory) + cmp.Diff(secrets[0].Versions, gotSecrets[quiz]) + cmp.Diff(content, gotContent); diff != "" {
		t.Error(diff)
	}
}

func TestAFileThatBreaksOffAnywhereIsDamaged(t *testing.T) {
	file := written(t)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var sealed bytes.Buffer
	writer, err := moving.Seal(&sealed, key.Recipient())
	if err == nil {
		_, err = writer.Write(file)
	}
	if err = errors.Join(err, writer.Close()); err != nil {
		t.Fatal(err)
	}
	read := func(content []byte) error {
		plain, err := moving.Unseal(bytes.NewReader(content), key)
		if err == nil {
			_, _, _, err = readAll(plain)
		}
		return err
	}
	if err := read(sealed.Bytes()); err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < sealed.Len(); cut += 251 {
		if err := read(sealed.Bytes()[:cut]); springtide.KindOf(err) != springtide.Invalid {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

func TestAnotherFormatAndWhatNoTideWroteAreRefused(t *testing.T) {
	for name, change := range map[string]func(*moving.Inventory){
		"format 2":                func(i *moving.Inventory) { i.Format = 2 },
		"no name":                 func(i *moving.Inventory) { i.Environments[0].ID.App = "../etc" },
		"the same twice":          func(i *moving.Inventory) { i.Environments = append(i.Environments, i.Environments[0]) },
		"another's release":       func(i *moving.Inventory) { i.Environments[0].Releases[0].Environment.App = "shop" },
		"releases out of order":   func(i *moving.Inventory) { i.Environments[0].Releases[0].Number = 4 },
		"no artifact":             func(i *moving.Inventory) { i.Environments[0].Releases[0].Artifact = "sha256:1" },
		"a release that is not":   func(i *moving.Inventory) { i.Environments[0].Active = 2 },
		"a blob without a digest": func(i *moving.Inventory) { i.Blobs[0].Digest = "sha256:../x" },
	} {
		inventory, _, _ := packed()
		change(&inventory)
		if err := inventory.Validate(); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnExportForSomebodyElseIsDenied(t *testing.T) {
	mine, _ := age.GenerateX25519Identity()
	theirs, _ := age.GenerateX25519Identity()
	var sealed bytes.Buffer
	writer, err := moving.Seal(&sealed, theirs.Recipient())
	if err = errors.Join(err, writer.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := moving.Unseal(&sealed, mine); springtide.KindOf(err) != springtide.Denied {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"", "PK", "age1notarecipient"} {
		if _, err := moving.Recipients([]string{text}); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("recipient %q: %v", text, err)
		}
		if _, err := moving.Unseal(strings.NewReader(text), mine); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("file %q: %v", text, err)
		}
	}
}

func TestAnImportIsPlannedByWhatIsHere(t *testing.T) {
	inventory, _, _ := packed()
	arriving := inventory.Environments[0]
	other := release(3)
	other.Config = map[string]string{"A": "c"}
	for name, one := range map[string]struct {
		here moving.Here
		want moving.Action
	}{
		"nothing":                   {moving.Here{}, moving.Make},
		"settings":                  {moving.Here{Known: true}, moving.Replace},
		"the same":                  {moving.Here{Known: true, Active: release(3), Rolling: true}, moving.Keep},
		"another release":           {moving.Here{Known: true, Active: release(4)}, moving.Conflict},
		"the release, other config": {moving.Here{Known: true, Active: other}, moving.Conflict},
		"a first rollout":           {moving.Here{Known: true, Rolling: true}, moving.Conflict},
		"another owner of a domain": {moving.Here{Unfit: errors.New("taken")}, moving.Conflict},
	} {
		step := moving.Compare(arriving, one.here)
		if step.Action != one.want || (step.Action == moving.Conflict) != (step.Reason != "") {
			t.Errorf("%s: %+v, want %s", name, step, one.want)
		}
		plan := moving.ImportPlan{Steps: []moving.Step{step}}
		if err := plan.Err(); (err != nil) != (one.want == moving.Conflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadingNeverPanics(f *testing.F) {
	f.Add(written(f))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, file []byte) {
		inventory, _, content, err := readAll(bytes.NewReader(file))
		if err != nil && springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("of kind %s: %v", springtide.KindOf(err), err)
		}
		if err == nil && len(content) > len(inventory.Blobs) {
			t.Errorf("%d blobs were read, %d are in the inventory", len(content), len(inventory.Blobs))
		}
	})
}
