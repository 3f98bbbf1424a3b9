package main

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/springtide/springtide/internal/engine/process/order"
)

// What package syscall does not name.
const (
	clockBoottime    = 7 // goes on while the machine sleeps
	timerAbsolute    = 1
	timerNonBlocking = syscall.O_NONBLOCK
	timerCloseOnExec = syscall.O_CLOEXEC
)

// watch gives a channel that is closed once nobody watches over the run: the
// time has come that the last renewal named, or its pipe has ended. Whoever
// renews may have died, been stopped, or slept with the machine.
func watch(until int64) (<-chan struct{}, error) {
	if until == 0 {
		return nil, nil
	}
	if now() >= until {
		return nil, errors.New("the lease had ended")
	}
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, clockBoottime, timerNonBlocking|timerCloseOnExec, 0)
	if errno != 0 {
		return nil, errno
	}
	timer := int(fd)
	if err := arm(timer, until); err != nil {
		return nil, err
	}
	if err := syscall.SetNonblock(order.WatchFD, true); err != nil {
		return nil, err
	}
	abandoned := make(chan struct{})
	abandon := sync.OnceFunc(func() { close(abandoned) })
	go func() {
		defer abandon()
		pipe := os.NewFile(order.WatchFD, "watch")
		buffer := make([]byte, 64*order.RenewalSize)
		for {
			n, err := pipe.Read(buffer)
			renewed, ok := order.ReadRenewals(buffer[:n])
			if err != nil || !ok || arm(timer, renewed) != nil {
				return
			}
		}
	}()
	go func() {
		defer abandon()
		var count [8]byte
		_, _ = os.NewFile(fd, "timer").Read(count[:])
	}()
	return abandoned, nil
}

func now() int64 {
	var spec syscall.Timespec
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&spec)), 0)
	return spec.Nano()
}

// arm sets the timer to a time of CLOCK_BOOTTIME.
func arm(timer int, until int64) error {
	// Zero would disarm it.
	setting := struct{ interval, value syscall.Timespec }{value: syscall.NsecToTimespec(max(until, int64(time.Nanosecond)))}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, uintptr(timer), timerAbsolute, uintptr(unsafe.Pointer(&setting)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
