package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/springtide/springtide"
)

// leastMemory is what an instance without a limit is taken to need, in bytes.
const leastMemory = 64 << 20

// roomFor says why there is no room for one more instance; empty if there is.
func roomFor(limits springtide.Limits) string {
	need := limits.Memory
	if need <= 0 {
		need = leastMemory
	}
	available := availableMemory()
	if available < 0 || available >= need {
		return ""
	}
	return fmt.Sprintf("one more instance needs %s of memory, %s is available", size(need), size(available))
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
