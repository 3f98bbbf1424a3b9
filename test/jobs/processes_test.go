package jobs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/test/story"
)

// process is one of the machine.
type process struct {
	pid                    int
	arguments, environment []string
}

func (p process) String() string { return fmt.Sprint(p.pid, p.arguments) }

// processes lists those of the machine that match; zombies have no arguments,
// and are left out.
func processes(matches func(process) bool) (found []process) {
	folders, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, folder := range folders {
		words := func(name string) (list []string) {
			text, _ := os.ReadFile(filepath.Join(folder, name)) // it may have ended
			for word := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte{0}), []byte{0}) {
				list = append(list, string(word))
			}
			return list
		}
		p := process{arguments: words("cmdline"), environment: words("environ")}
		p.pid, _ = strconv.Atoi(filepath.Base(folder))
		if p.arguments[0] != "" && matches(p) {
			found = append(found, p)
		}
	}
	return found
}

// ofAttempt gives all processes of one attempt of a run.
func ofAttempt(run springtide.Run) []process {
	id, fence := "RUN_ID="+string(run.ID), fmt.Sprint("FENCE=", run.Fence)
	return processes(func(p process) bool {
		return slices.Contains(p.environment, id) && slices.Contains(p.environment, fence)
	})
}

// initOf gives the init of a run.
func initOf(t testing.TB, run springtide.Run) process {
	t.Helper()
	return only(t, "the init of "+string(run.ID), func(p process) bool {
		return slices.Equal(p.arguments, []string{"tide-init", string(run.ID)})
	})
}

// runnerOf gives the runner that has a run.
func runnerOf(t testing.TB, run springtide.Run) process {
	t.Helper()
	return only(t, "the runner "+run.Runner, func(p process) bool {
		return slices.Contains(p.arguments, "runner") && slices.Contains(p.environment, "TIDE_INSTANCE="+run.Runner)
	})
}

// only gives the process that matches. A child that is just being started looks like
// its parent.
func only(t testing.TB, what string, matches func(process) bool) process {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		found := processes(matches)
		if len(found) == 1 {
			return found[0]
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: there are %v", what, found)
		}
	}
}

func (p process) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(p.pid, signal); err != nil {
		t.Fatalf("%s to %s: %v", signal, p, err)
	}
}

// gone waits until nothing of an attempt is left.
func gone(t testing.TB, run springtide.Run) {
	t.Helper()
	story.Eventually(t, "the attempt to be gone", patience, func() bool { return len(ofAttempt(run)) == 0 })
}
