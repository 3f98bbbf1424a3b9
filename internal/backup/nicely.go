package backup

import (
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	// niceness is the lowest priority there is.
	niceness = 19
	// ioIdle has the disk serve everybody else first: class 3 of ioprio_set(2).
	ioIdle        = 3 << 13
	ioprioProcess = 1
)

// nicely does work, and runs the programs that it starts itself, after all that
// serves. The thread is not used again afterwards.
func nicely(work func()) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	thread := unix.Gettid()
	_ = unix.Setpriority(unix.PRIO_PROCESS, thread, niceness) // without it, it is merely less nice
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioProcess, uintptr(thread), ioIdle)
	work()
}
