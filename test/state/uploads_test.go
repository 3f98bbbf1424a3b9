package state

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/test/story"
)

func TestAnUploadStartsAWorkerThatWasNotThereWhateverDies(t *testing.T) {
	p := story.Platform(t)
	s := attic(t, p, "attic", "{ uploads: /data/uploads }")
	manifest := `app: attic
processes:
  web: ./attic
  worker: { queues: [thumbnails], command: "cat > $FILES_UPLOADS/seen-$RUN_ID", scale: { min: 0, max: 1, idle: 1s } }
files: { uploads: { path: /data/uploads, enqueue: thumbnails } }
`
	if err := os.WriteFile(filepath.Join(s.source, "tide.yaml"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	s.tide("deploy")
	id := springtide.EnvironmentID{App: "attic", Name: springtide.Production}
	gone := func() bool {
		instances, err := p.Client.Instances(t.Context(), id)
		if err != nil {
			return false
		}
		for _, one := range instances {
			if one.Group.Process == "worker" {
				return false
			}
		}
		return true
	}
	story.Eventually(t, "no worker to be there", limit, gone)
	s.ask("PUT", "/kept/cat.png", "meow")
	s.killControl()
	s.ask("PUT", "/kept/dog.png", "woof!")
	sizes := map[string]float64{}
	story.Eventually(t, "both runs to have their uploads", limit, func() bool {
		clear(sizes)
		seen, _ := filepath.Glob(filepath.Join(p.Data, "files", "attic", "production", "uploads", "seen-*"))
		for _, path := range seen {
			var payload struct {
				Event, Folder, Key string
				Size               float64
			}
			text, err := os.ReadFile(path)
			if err == nil && json.Unmarshal(text, &payload) == nil && payload.Event == "created" && payload.Folder == "uploads" {
				sizes[payload.Key] = payload.Size
			}
		}
		return len(seen) == 2 && sizes["cat.png"] == 4 && sizes["dog.png"] == 5
	})
	story.Eventually(t, "the worker to go", limit, gone)
	if listed := s.tide("jobs", "--json"); strings.Count(listed, `"thumbnails"`) != 2 {
		t.Errorf("the runs are\n%s", listed)
	}
}
