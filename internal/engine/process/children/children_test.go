package children

import (
	"os/exec"
	"slices"
	"testing"
)

func TestChildrenAreFoundUntilTheyAreWaitedFor(t *testing.T) {
	cmd := exec.Command("sh", "-c", "read line")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if !slices.Contains(List(), pid) {
		t.Error("a child was not found")
	}
	input.Close()
	if err := cmd.Wait(); err == nil {
		t.Error("it should have failed")
	}
	if slices.Contains(List(), pid) {
		t.Error("a child that was waited for was found")
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	if innermost("self") == 0 || parent("self") == "" {
		t.Error("this process was not found")
	}
	if innermost("0") != 0 || parent("0") != "" {
		t.Error("one that is not there was found")
	}
}
