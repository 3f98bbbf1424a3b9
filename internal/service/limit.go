package service

import (
	"fmt"
	"strings"

	"github.com/springtide/springtide"
)

// Limiter keeps processes within limits, each name by itself. Implemented by
// process.Limiter.
type Limiter interface {
	// Confine has a process, and what it starts, keep to limits from now on.
	Confine(name string, pid int, limits springtide.Limits) error
	// OutOfMemory counts what was ended because it did not.
	OutOfMemory(name string) int
	// Release forgets a name when nothing of it runs any more.
	Release(name string)
}

// confine has a server keep to the limits of its service, if there are any.
func (c *cluster) confine(limits springtide.Limits, folder string, pid int) error {
	if limits == (springtide.Limits{}) || c.manager.options.Limiter == nil {
		return nil
	}
	return c.manager.options.Limiter.Confine(groupOf(folder), pid, limits)
}

// confineAll has the servers that run keep to other limits.
func (c *cluster) confineAll() error {
	r := c.snapshot()
	for _, one := range r.Servers {
		c.mu.Lock()
		running := c.unit(one.Folder).child
		c.mu.Unlock()
		if running == nil {
			continue
		}
		if err := c.confine(r.Spec.Limits, one.Folder, running.pid); err != nil {
			return err
		}
	}
	return nil
}

// starved tells of what a server, or part of it, was ended for since it was last
// asked. The text is empty if that is nothing.
func (c *cluster) starved(u *unit, limits springtide.Limits, folder string) string {
	if limits.Memory == 0 || c.manager.options.Limiter == nil {
		return ""
	}
	count := c.manager.options.Limiter.OutOfMemory(groupOf(folder))
	if before := u.starved; count <= before {
		return ""
	}
	u.starved = count
	return fmt.Sprintf("the kernel ended it for want of memory: it is limited to %d MiB by services.%s.limits.memory", limits.Memory>>20, c.id.Name)
}

// released forgets the limits of a server that has ended.
func (c *cluster) released(folder string) {
	if c.manager.options.Limiter != nil {
		c.manager.options.Limiter.Release(groupOf(folder))
	}
}

// folderOf is that of a server as the record has it.
func (c *cluster) folderOf(server Server) string {
	return strings.TrimPrefix(server.Folder, c.manager.options.Folder+"/")
}

// groupOf names what the limits of a server are kept by.
func groupOf(folder string) string { return "service-" + strings.ReplaceAll(folder, "/", "-") }
