package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine"
)

// leastMemory is what an instance without a limit is taken to need, in bytes.
const leastMemory = 64 << 20

// takes is how much memory an instance is taken to need, in bytes.
func takes(limits springtide.Limits) int64 {
	if limits.Memory > 0 {
		return limits.Memory
	}
	return leastMemory
}

// promised is what instances that start have not taken yet of the memory that they
// need, in bytes: it is available, and it is not for others. The mutex is held.
func (e *Engine) promised() (bytes int64) {
	for _, i := range e.instances {
		if i.view.State == springtide.InstanceStarting {
			_, held, _ := e.groups.existing(i.key()).usage()
			bytes += max(takes(i.spec.Group.Template.Process.Limits)-held, 0)
		}
	}
	return bytes
}

// roomFor says why there is no room for one more instance, where so many bytes are
// promised to others and so many are available (-1: unknown); empty if there is.
func roomFor(limits springtide.Limits, promised, available int64) string {
	need := takes(limits)
	if available < 0 || available-promised >= need {
		return ""
	}
	available = max(available-promised, 0)
	return fmt.Sprintf("one more instance needs %s of memory, %s is available", engine.Size(need), engine.Size(available))
}

// availableMemory is what could be used without swapping, in bytes; -1: unknown.
func availableMemory() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			if kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	return -1
}
