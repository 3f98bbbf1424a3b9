package kills

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/springtide/springtide/test/story"
)

func TestFiftyUpgradesLoseNothing(t *testing.T) {
	p := story.Own(t)
	url, before := quizOn(t, p)
	next := filepath.Join(story.Folder(t), "tide-next")
	program, err := os.ReadFile(p.Tide)
	if err == nil {
		err = os.WriteFile(next, program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	stop := story.Load(t, p, url, 100)
	longest := int64(0)
	for range 50 {
		output, err := p.CLI(t.Context(), "upgrade", next, "--json")
		if err != nil {
			t.Fatal(err)
		}
		var upgraded struct {
			Executable, Previous string
			Away                 int64 `json:"control_away_ms"`
		}
		if err := json.Unmarshal([]byte(output), &upgraded); err != nil || upgraded.Executable != p.Tide || upgraded.Previous != p.Tide+".previous" {
			t.Fatalf("it says %s, %v", output, err)
		}
		longest = max(longest, upgraded.Away)
	}
	result := stop()
	if result.Failed != 0 || result.UnsafeFailed != 0 || result.WebSockets.Errors != 0 || result.EventStreams.Errors != 0 {
		t.Error("clients noticed an upgrade")
	}
	after, err := p.Ready(t.Context(), story.Quiz, 2)
	if err != nil {
		t.Fatal(err)
	}
	if after[0].PID != before[0].PID || after[1].PID != before[1].PID {
		t.Error("the instances were not kept")
	}
	t.Logf("%d requests; the control plane was away for at most %d ms", result.Requests, longest)
}

func TestWhatDoesNotRunTakesNothingOver(t *testing.T) {
	p := story.Own(t)
	before := status(t, p)
	program, err := os.ReadFile(p.Tide)
	if err != nil {
		t.Fatal(err)
	}
	folder := story.Folder(t)
	for name, text := range map[string]string{
		"broken": "\x7fELF and no more", "stranger": "#!/bin/sh\necho hello\n", "old": "#!/bin/sh\necho '{\"version\":\"v0\",\"tables\":1}'\n",
	} {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := p.CLI(t.Context(), "upgrade", file)
		if err == nil || strings.Count(err.Error(), "error: ") != 1 || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := os.ReadFile(p.Tide); err != nil || len(now) != len(program) {
			t.Errorf("%s: the binary was replaced by %d bytes, %v", name, len(now), err)
		}
	}
	if after := status(t, p); after.Processes.Control != before.Processes.Control || after.Processes.Edges[0] != before.Processes.Edges[0] {
		t.Errorf("%+v became %+v", before.Processes, after.Processes)
	}
}
