package process

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A shell would say that its child was killed, if it lived for a moment longer.
func TestNoneOfThoseThatAreKilledTellsOfAnother(t *testing.T) {
	for range 5 {
		// Others are killed between the child that it waits for and the shell.
		shell := exec.Command("sh", "-c", `
			sleep 1000 & first=$!; echo $first
			for i in $(seq 200); do sleep 1000 & echo $!; done
			echo 0
			wait $first`)
		var said bytes.Buffer
		shell.Stderr = &said
		output, err := shell.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := shell.Start(); err != nil {
			t.Fatal(err)
		}
		var pids []int
		for pid, reader := 0, bufio.NewReader(output); len(pids) == 0 || pid != 0; {
			if _, err := fmt.Fscanln(reader, &pid); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
		pids[len(pids)-1] = shell.Process.Pid
		for stat := ""; !strings.Contains(stat, ") S "); { // until it waits
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", shell.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			stat = string(text)
		}
		killAll(pids)
		if err := shell.Wait(); err == nil || said.Len() > 0 {
			t.Errorf("the shell was killed: %v, it said %q", err, said.String())
		}
	}
}
