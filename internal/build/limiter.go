package build

import (
	"os/exec"
	"sync"
	"syscall"

	"github.com/springtide/springtide"
)

// Limiter starts a build's command within limits. Implemented by
// process.Limiter, with control groups.
type Limiter interface {
	// Start starts the command. The name tells it from others that run at the
	// same time. Stop is called once; it kills whatever is left of the command
	// and reports whether the kernel killed something for want of memory.
	Start(cmd *exec.Cmd, name string, limits springtide.Limits) (stop func() (outOfMemory bool), err error)
}

// processGroup is the Limiter that works everywhere: it sets no limits, and
// ends what did not leave the process group.
type processGroup struct{}

// Start implements [Limiter].
func (processGroup) Start(cmd *exec.Cmd, _ string, _ springtide.Limits) (func() bool, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return sync.OnceValue(func() bool {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return false
	}), nil
}
