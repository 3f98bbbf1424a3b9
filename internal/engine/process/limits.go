package process

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"github.com/springtide/springtide"
)

// Limiter runs commands under control groups of their own, so that a build
// cannot starve what serves. Where the machine offers no control groups it
// still ends the whole process group. Get one from [Engine.Limiter].
type Limiter struct {
	groups *cgroups
}

// Start starts the command within limits. The name tells it from other
// commands that run at the same time. Stop must be called once, after the
// command was waited for or in order to end it: it kills whatever is left of
// it and reports whether the kernel killed something for want of memory.
func (l *Limiter) Start(cmd *exec.Cmd, name string, limits springtide.Limits) (stop func() (outOfMemory bool), err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if !cmd.SysProcAttr.Setsid {
		cmd.SysProcAttr.Setpgid = true
	}
	group, err := l.groups.create(name, limits)
	if err != nil {
		return nil, springtide.Errorf(springtide.Failed, "limit %s: %w", name, err)
	}
	err = group.giveWay()
	if err == nil {
		err = group.start(cmd)
	}
	if err != nil {
		group.remove()
		return nil, err
	}
	return sync.OnceValue(func() bool {
		// The process group first: it exists on every machine.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		group.kill()
		killed := group.outOfMemory() > 0
		group.remove()
		return killed
	}), nil
}

// giveWay lets the group have a tenth of what an instance gets while both want
// the processor. A nice value alone would not do: it weighs only within a group.
func (g *cgroup) giveWay() error {
	switch {
	case !g.parent.has("cpu"):
		return nil
	case g.parent.version == 2:
		return os.WriteFile(g.file("cpu", "cpu.weight"), []byte("10"), 0)
	default:
		return os.WriteFile(g.file("cpu", "cpu.shares"), []byte("102"), 0)
	}
}

// start starts the command inside the group. With control groups v1 it is
// started from a thread that is inside: children begin where their parent's
// thread is, so there is no moment at which the command runs outside.
func (g *cgroup) start(cmd *exec.Cmd) error {
	if folder, err := g.openFolder(); err != nil {
		return err
	} else if folder != nil {
		defer folder.Close()
		cmd.SysProcAttr.UseCgroupFD = true
		cmd.SysProcAttr.CgroupFD = int(folder.Fd())
		return cmd.Start()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := g.enter()
		if err == nil {
			err = cmd.Start()
		}
		if g.leave() == nil {
			runtime.UnlockOSThread()
		} // Otherwise the thread ends with this goroutine.
		result <- err
	}()
	return <-result
}
