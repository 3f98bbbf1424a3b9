// Package demo runs the demo as a user does, with half the load.
package demo

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide/bench/load"
	"github.com/springtide/springtide/test/story"
)

func TestTheDemoLosesNoRequestAndLeavesNothingRunning(t *testing.T) {
	root := story.Root(t)
	command := exec.CommandContext(t.Context(), "go", "run", "-trimpath", "./bench/demo", "-quick", "-json",
		"-tide", story.Binary(t), "-app", filepath.Join(root, "examples", "quiz"), "-https", story.Address(t), "-http", story.Address(t))
	command.Dir, command.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	var stdout, stderr strings.Builder
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("the demo failed: %v\n%s", err, stderr.String())
	}
	var result struct {
		Load    load.Result   `json:"load"`
		Needed  int           `json:"needed"`
		Ready   time.Duration `json:"ready_after"`
		Deploy  time.Duration `json:"deploy"`
		Killed  string        `json:"killed"`
		Adopted int           `json:"adopted"`
	}
	if err := json.Unmarshal([]byte(stdout.String()), &result); err != nil {
		t.Fatalf("%v\n%s", err, stdout.String())
	}
	if result.Load.Requests < 3_000 || result.Load.Failed != 0 || result.Load.Releases["1"] == 0 {
		t.Errorf("%s, releases %v", result.Load.Summary(), result.Load.Releases)
	}
	// There is load for 22 s from when it is begun; a busy machine may take as long to build.
	if result.Load.Releases["2"] == 0 && result.Deploy < 20*time.Second {
		t.Errorf("version 2 was deployed in %s, and answered nothing: %v", result.Deploy, result.Load.Releases)
	}
	if result.Needed < 2 || result.Ready < 0 || result.Killed == "" || result.Adopted == 0 {
		t.Errorf("needed %d, ready after %s, killed %q, adopted %d", result.Needed, result.Ready, result.Killed, result.Adopted)
	}
	for _, line := range []string{"kill -9 of the control plane", "nothing is left running"} {
		if !strings.Contains(stderr.String(), line) {
			t.Errorf("the demo did not say %q:\n%s", line, stderr.String())
		}
	}
}
