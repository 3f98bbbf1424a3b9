package files

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// gently runs f in a thread that lets everybody else go first, at the processor
// and at the disk, and that ends with it.
func gently(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread must not be used again
		const (
			ofThread = 1       // IOPRIO_WHO_PROCESS
			idle     = 3 << 13 // IOPRIO_CLASS_IDLE
		)
		// Without these it is only less gentle.
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19)
		_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ofThread, 0, idle)
		done <- f()
	}()
	return <-done
}
