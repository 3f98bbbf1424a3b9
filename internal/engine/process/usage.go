package process

import (
	"cmp"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// Usage tells what the instances use now. Without control groups none is
// measured.
func (e *Engine) Usage() springtide.Usage {
	usage := springtide.Usage{CPUs: float64(runtime.NumCPU()), Idle: idle()}
	type named struct {
		springtide.InstanceUsage
		key string
	}
	var all []named
	e.mu.Lock()
	for _, i := range e.instances {
		all = append(all, named{springtide.InstanceUsage{Instance: i.view.ID, Group: i.view.Group}, i.key()})
	}
	e.mu.Unlock()
	free := availableMemory()
	held := int64(0)
	for _, one := range all {
		group := e.groups.existing(one.key)
		var measured bool
		if one.CPU, one.Memory, measured = group.usage(); measured {
			held += one.Memory
			usage.Instances = append(usage.Instances, one.InstanceUsage)
		}
	}
	if free >= 0 {
		usage.Memory = free + held
	}
	slices.SortFunc(usage.Instances, func(a, b springtide.InstanceUsage) int {
		return cmp.Or(cmp.Compare(a.Group.String(), b.Group.String()), cmp.Compare(a.Instance, b.Instance))
	})
	return usage
}

// idle tells for how long the processors had nothing to do, all of them together,
// since the machine was started (proc_stat(5), in hundredths of a second); 0: not
// known.
func idle() time.Duration {
	const idleField, waitField, hundredth = 4, 5, 10 * time.Millisecond
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(first)
	if len(fields) <= waitField {
		return 0
	}
	sum := time.Duration(0)
	for _, field := range []string{fields[idleField], fields[waitField]} {
		n, _ := strconv.ParseInt(field, 10, 64)
		sum += time.Duration(n) * hundredth
	}
	return sum
}

// usage reads what the members of the group had of the processors, and what they
// hold of the memory, in bytes. It is not known where the group does not exist,
// or the machine does not account both.
func (g *cgroup) usage() (processor time.Duration, memory int64, known bool) {
	if g.parent.version == 2 {
		microseconds, ok := g.figure("cpu", "cpu.stat", "usage_usec")
		held, counted := g.figure("memory", "memory.current", "")
		inactive, _ := g.figure("memory", "memory.stat", "inactive_file")
		return time.Duration(microseconds) * time.Microsecond, max(held-inactive, 0), ok && counted
	}
	nanoseconds, ok := g.figure("cpuacct", "cpuacct.usage", "")
	held, counted := g.figure("memory", "memory.usage_in_bytes", "")
	inactive, _ := g.figure("memory", "memory.stat", "total_inactive_file")
	return time.Duration(nanoseconds), max(held-inactive, 0), ok && counted
}

// figure reads a number of a file of the group: the one that follows the name at
// the beginning of a line, or the only one.
func (g *cgroup) figure(controller, file, name string) (int64, bool) {
	if !g.parent.has(controller) {
		return 0, false
	}
	data, err := os.ReadFile(g.file(controller, file))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(data)) {
		text := strings.TrimSpace(line)
		if name != "" {
			rest, found := strings.CutPrefix(text, name+" ")
			if !found {
				continue
			}
			text = rest
		}
		number, err := strconv.ParseInt(text, 10, 64)
		return number, err == nil
	}
	return 0, false
}
