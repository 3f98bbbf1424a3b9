package main

import (
	"os"
	"syscall"

	"github.com/springtide/springtide/internal/engine/process/children"
	"github.com/springtide/springtide/internal/engine/process/order"
)

// Requests to prctl that package syscall does not name.
const (
	prSetChildSubreaper = 36
	prSetNoNewPrivs     = 38
	prCapAmbient        = 47
	prCapAmbientClear   = 4
)

func prctl(option, argument uintptr) error {
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, option, argument, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// becomeReaper makes orphans below this process its children. The first process
// of a namespace is that anyway.
func becomeReaper() error { return prctl(prSetChildSubreaper, 1) }

// groups are the open control groups that the command is started in.
type groups struct {
	tasks  []int
	folder int
}

func openGroups(asked order.Order) (groups, error) {
	opened := groups{folder: -1}
	for _, path := range asked.CgroupTasks {
		fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return opened, err
		}
		opened.tasks = append(opened.tasks, fd)
	}
	if asked.CgroupFolder != "" {
		fd, err := syscall.Open(asked.CgroupFolder, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return opened, err
		}
		opened.folder = fd
	}
	return opened, nil
}

// start starts the command as a session of its own, its output going to log, or
// where the init's own goes if that is nil.
// The caller is locked to its thread: that thread alone enters the control
// groups and gives up privileges, so the rest of the init stays outside of the
// instance's limits.
func start(asked order.Order, groups groups, log *output) (pid int, err error) {
	files, collect, err := streams(log)
	if err != nil {
		return 0, err
	}
	defer collect()
	for _, fd := range groups.tasks {
		if _, err := syscall.Write(fd, []byte("0")); err != nil {
			return 0, err
		}
		syscall.Close(fd)
	}
	if err := prctl(prSetNoNewPrivs, 1); err != nil {
		return 0, err
	}
	_ = prctl(prCapAmbient, prCapAmbientClear) // Old kernels have none.
	attributes := &syscall.SysProcAttr{Setsid: true}
	if asked.Until != 0 {
		attributes.Pdeathsig = syscall.SIGKILL // Should this init be killed: one less to look for.
	}
	if asked.SwitchUser {
		attributes.Credential = &syscall.Credential{Uid: uint32(asked.UID), Gid: uint32(asked.GID)}
	}
	if groups.folder >= 0 {
		attributes.UseCgroupFD, attributes.CgroupFD = true, groups.folder
	}
	pid, err = syscall.ForkExec("/bin/sh", []string{"sh", "-c", asked.Command}, &syscall.ProcAttr{
		Dir: asked.Dir, Env: asked.Env, Sys: attributes, Files: files,
	})
	if groups.folder >= 0 {
		syscall.Close(groups.folder)
	}
	return pid, err
}

// streams gives the command's input, output and error. Once it was started,
// collect has the log read what it writes.
func streams(log *output) (files []uintptr, collect func(), err error) {
	if log == nil {
		return []uintptr{0, 1, 2}, func() {}, nil
	}
	input, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	outRead, outWrite, err := pipe()
	if err != nil {
		return nil, nil, err
	}
	errRead, errWrite, err := pipe()
	if err != nil {
		return nil, nil, err
	}
	return []uintptr{uintptr(input), uintptr(outWrite), uintptr(errWrite)}, func() {
		syscall.Close(input)
		syscall.Close(outWrite)
		syscall.Close(errWrite)
		log.collect(outRead, order.Stdout)
		log.collect(errRead, order.Stderr)
	}, nil
}

// pipe gives a pipe whose read end this program polls; the write end blocks, as
// commands expect it.
func pipe() (read *os.File, write int, err error) {
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		return nil, 0, err
	}
	if err := syscall.SetNonblock(ends[0], true); err != nil {
		return nil, 0, err
	}
	return os.NewFile(uintptr(ends[0]), "output"), ends[1], nil
}

// killRest kills every descendant that can be found. Those it cannot find yet
// become children of this process when their parents are dead, so calling it
// again after each reaped child leaves none.
func killRest() {
	if os.Getpid() == 1 {
		_ = syscall.Kill(-1, syscall.SIGKILL) // All of the namespace but this process.
		return
	}
	for _, pid := range children.List() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
