package process

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/springtide/springtide"
)

// cpuPeriod is the period of the CPU quota, in microseconds.
const cpuPeriod = 100_000

// cgroups makes control groups: one folder of the platform per hierarchy, and
// below it one per instance, task or build. The zero value makes none.
type cgroups struct {
	version int // 1, 2, or 0: there are none
	// folders has, for each controller we may use ("cpu", "memory", "pids", and
	// "cpuacct" of version 1), the folder of the platform in its hierarchy. With
	// version 2 they are all one.
	folders map[string]string
	// own has, for each controller, the group this process itself is in.
	own map[string]string
}

// cgroup is the set of folders of one instance.
type cgroup struct {
	parent *cgroups
	name   string
}

// findCgroups looks for hierarchies in which this process may make groups, by
// making one in each.
func findCgroups(name string) *cgroups {
	mounts, err := readCgroupMounts("/proc/self/mountinfo")
	if err != nil {
		return &cgroups{}
	}
	own, err := readOwnCgroups("/proc/self/cgroup")
	if err != nil {
		return &cgroups{}
	}
	if found := findUnified(mounts, own, name); found != nil {
		return found
	}
	found := &cgroups{version: 1, folders: map[string]string{}, own: map[string]string{}}
	for _, controller := range []string{"cpu", "cpuacct", "memory", "pids"} {
		mount, ok := mounts[controller]
		if !ok {
			continue
		}
		current := filepath.Join(mount, own[controller])
		for _, parent := range []string{current, mount} {
			folder := filepath.Join(parent, name)
			if canMakeGroups(folder) {
				found.folders[controller], found.own[controller] = folder, current
				break
			}
		}
	}
	if len(found.folders) == 0 {
		return &cgroups{}
	}
	return found
}

// findUnified tries the second version: the platform's own processes have to
// move aside first, because there only the leaves may hold processes.
func findUnified(mounts, own map[string]string, name string) *cgroups {
	mount, ok := mounts[""]
	if !ok {
		return nil
	}
	current := filepath.Join(mount, own[""])
	const aside = "platform"
	base := current
	if filepath.Base(base) == aside {
		base = filepath.Dir(base)
	}
	available := readWords(filepath.Join(base, "cgroup.controllers"))
	if !available["memory"] && !available["cpu"] {
		return nil
	}
	var wanted []string
	for _, controller := range []string{"cpu", "memory", "pids"} {
		if available[controller] {
			wanted = append(wanted, "+"+controller)
		}
	}
	enable := func(folder string) error {
		return os.WriteFile(filepath.Join(folder, "cgroup.subtree_control"), []byte(strings.Join(wanted, " ")), 0)
	}
	if err := enable(base); errors.Is(err, syscall.EBUSY) {
		leaf := filepath.Join(base, aside)
		if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil
		}
		for pid := range readWords(filepath.Join(base, "cgroup.procs")) {
			_ = os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(pid), 0)
		}
		if enable(base) != nil {
			return nil
		}
		current = leaf
	} else if err != nil {
		return nil
	}
	folder := filepath.Join(base, name)
	if !canMakeGroups(folder) || enable(folder) != nil {
		return nil
	}
	found := &cgroups{version: 2, folders: map[string]string{}, own: map[string]string{"": current}}
	for _, controller := range wanted {
		found.folders[controller[1:]] = folder
	}
	return found
}

// canMakeGroups makes the folder and tries it out with a child.
func canMakeGroups(folder string) bool {
	if err := os.Mkdir(folder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return false
	}
	trial := filepath.Join(folder, "probe")
	_ = os.Remove(trial)
	if os.Mkdir(trial, 0o755) != nil {
		_ = os.Remove(folder)
		return false
	}
	return os.Remove(trial) == nil
}

// has reports whether a controller can be used.
func (c *cgroups) has(controller string) bool { return c.folders[controller] != "" }

// unique gives the folders without repetition: with version 2 there is one.
func (c *cgroups) unique() map[string]string {
	if c.version != 2 {
		return c.folders
	}
	for _, folder := range c.folders {
		return map[string]string{"": folder}
	}
	return nil
}

// create makes the group of that name, empty, with limits. What an earlier
// attempt of the same name left is reused.
func (c *cgroups) create(name string, limits springtide.Limits) (*cgroup, error) {
	group := &cgroup{parent: c, name: name}
	for _, folder := range c.unique() {
		// The platform's own folder may have been tidied away while it was empty.
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			return nil, err
		}
	}
	if err := group.limit(limits); err != nil {
		group.remove()
		return nil, err
	}
	return group, nil
}

// existing names a group that an earlier control plane made.
func (c *cgroups) existing(name string) *cgroup { return &cgroup{parent: c, name: name} }

func (g *cgroup) limit(limits springtide.Limits) error {
	type setting struct{ controller, file, value string }
	var settings []setting
	unified := g.parent.version == 2
	if limits.CPU > 0 {
		quota := max(int(limits.CPU*cpuPeriod), 1000)
		if unified {
			settings = append(settings, setting{"cpu", "cpu.max", fmt.Sprintf("%d %d", quota, cpuPeriod)})
		} else {
			settings = append(settings,
				setting{"cpu", "cpu.cfs_period_us", strconv.Itoa(cpuPeriod)},
				setting{"cpu", "cpu.cfs_quota_us", strconv.Itoa(quota)})
		}
	}
	if limits.Memory > 0 {
		memory := strconv.FormatInt(limits.Memory, 10)
		if unified {
			settings = append(settings, setting{"memory", "memory.max", memory}, setting{"memory", "memory.swap.max", "0"})
		} else {
			settings = append(settings,
				setting{"memory", "memory.limit_in_bytes", memory},
				setting{"memory", "memory.memsw.limit_in_bytes", memory})
		}
	}
	if limits.Processes > 0 {
		settings = append(settings, setting{"pids", "pids.max", strconv.Itoa(limits.Processes)})
	}
	for _, s := range settings {
		if !g.parent.has(s.controller) {
			continue
		}
		err := os.WriteFile(g.file(s.controller, s.file), []byte(s.value), 0)
		if errors.Is(err, fs.ErrNotExist) && strings.Contains(s.file, "sw") {
			continue // A kernel that does not account swap.
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *cgroup) file(controller, name string) string {
	return filepath.Join(g.parent.folders[controller], g.name, name)
}

// taskFiles are what a thread writes "0" to in order to enter the group;
// version 1 only.
func (g *cgroup) taskFiles() []string {
	if g.parent.version != 1 {
		return nil
	}
	var files []string
	for controller := range g.parent.folders {
		files = append(files, g.file(controller, "tasks"))
	}
	return files
}

// folder is where a child can be cloned into; version 2 only.
func (g *cgroup) folder() string {
	if g.parent.version != 2 {
		return ""
	}
	for _, folder := range g.parent.unique() {
		return filepath.Join(folder, g.name)
	}
	return ""
}

func (g *cgroup) openFolder() (*os.File, error) {
	if folder := g.folder(); folder != "" {
		return os.Open(folder)
	}
	return nil, nil //nolint:nilnil // Version 1 has no folder to clone into.
}

// enter moves the calling thread into the group, leave moves it back.
func (g *cgroup) enter() error {
	for _, file := range g.taskFiles() {
		if err := os.WriteFile(file, []byte("0"), 0); err != nil {
			return err
		}
	}
	return nil
}

func (g *cgroup) leave() error {
	var all error
	for _, folder := range g.parent.own {
		all = errors.Join(all, os.WriteFile(filepath.Join(folder, "tasks"), []byte("0"), 0))
	}
	return all
}

// processes lists the members of the group.
func (g *cgroup) processes() []int {
	seen := map[int]bool{}
	var pids []int
	for _, folder := range g.parent.unique() {
		for word := range readWords(filepath.Join(folder, g.name, "cgroup.procs")) {
			if pid, err := strconv.Atoi(word); err == nil && pid > 0 && !seen[pid] {
				seen[pid] = true
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// endLimit bounds how long processes may take to end once they were killed. What may
// not have much of the processor needs longer than one would think.
const endLimit = 10 * time.Second

// untilEnded calls look until it sees nothing more, or the limit is over.
func untilEnded(look func() (more bool)) {
	pause := 2 * time.Millisecond
	for deadline := time.Now().Add(endLimit); look() && time.Now().Before(deadline); pause = min(2*pause, 50*time.Millisecond) {
		time.Sleep(pause)
	}
}

// kill ends all members, also those that they fork meanwhile.
func (g *cgroup) kill() { untilEnded(func() bool { return killAll(g.processes()) }) }

// killAll kills processes, and reports whether there are any: the kernel has to end
// them. All are stopped first, so that none sees another end, and says so.
func killAll(pids []int) bool {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return len(pids) > 0
}

// outOfMemory counts the members that the kernel killed for want of memory.
func (g *cgroup) outOfMemory() int {
	if !g.parent.has("memory") {
		return 0
	}
	name := "memory.oom_control"
	if g.parent.version == 2 {
		name = "memory.events"
	}
	data, err := os.ReadFile(g.file("memory", name))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if count, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			number, _ := strconv.Atoi(count)
			return number
		}
	}
	return 0
}

// remove takes the group away. A group in which something ends yet is tried again;
// what stays is removed when the platform starts again.
func (g *cgroup) remove() {
	for _, folder := range g.parent.unique() {
		untilEnded(func() bool { return errors.Is(os.Remove(filepath.Join(folder, g.name)), syscall.EBUSY) })
	}
}

// names lists the groups that exist.
func (c *cgroups) names() []string {
	seen := map[string]bool{}
	var names []string
	for _, folder := range c.unique() {
		entries, _ := os.ReadDir(folder)
		for _, entry := range entries {
			if entry.IsDir() && !seen[entry.Name()] {
				seen[entry.Name()] = true
				names = append(names, entry.Name())
			}
		}
	}
	return names
}

// removeAll takes the platform's own folders away, if nothing is in them.
func (c *cgroups) removeAll() {
	for _, folder := range c.unique() {
		_ = os.Remove(folder)
	}
}

// readCgroupMounts maps controllers to mount points; the unified hierarchy has
// the empty name.
func readCgroupMounts(path string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	mounts := map[string]string{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// id parent device root mount-point options... - type source super-options
		left, right, ok := strings.Cut(lines.Text(), " - ")
		fields, kind := strings.Fields(left), strings.Fields(right)
		if !ok || len(fields) < 5 || len(kind) < 3 {
			continue
		}
		switch kind[0] {
		case "cgroup":
			for option := range strings.SplitSeq(kind[2], ",") {
				mounts[option] = fields[4]
			}
		case "cgroup2":
			mounts[""] = fields[4]
		}
	}
	return mounts, lines.Err()
}

// readOwnCgroups maps controllers to the path of this process's group.
func readOwnCgroups(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	own := map[string]string{}
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			own[controller] = parts[2]
		}
	}
	return own, nil
}

func readWords(path string) map[string]bool {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	words := map[string]bool{}
	for word := range strings.FieldsSeq(string(data)) {
		words[word] = true
	}
	return words
}
