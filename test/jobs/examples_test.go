package jobs

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/test/story"
)

func TestTheExamplesOfWorkersTakeRunsOverDeploys(t *testing.T) {
	t.Parallel()
	p := story.Platform(t)
	for example, program := range map[string]string{"worker-python": "python3", "worker-node": "node"} {
		t.Run(example, func(t *testing.T) {
			if _, err := exec.LookPath(program); err != nil {
				t.Skip(err)
			}
			s := &shop{Platform: p, t: t, source: story.App(t, example)}
			for release := 1; release <= 2; release++ {
				story.Deploy(t, p, s.source)
				var run springtide.Run
				text := s.tide("jobs", "enqueue", "--wait", "--json", "--payload", `{"text":"as many as these"}`)
				if err := json.Unmarshal([]byte(text), &run); err != nil {
					t.Fatal(err)
				}
				if got := strings.Join(strings.Fields(string(run.Result)), ""); got != `{"words":4}` || run.Attempt != 1 || run.Release != release {
					t.Errorf("in v%d at attempt %d the result is %s", run.Release, run.Attempt, got)
				}
				s.write(file{"another", ""})
			}
		})
	}
}
