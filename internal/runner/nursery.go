package runner

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide/internal/engine/process/children"
	"github.com/springtide/springtide/internal/engine/process/order"
)

// sweepLimit is how long the kernel may take to end what was killed.
const sweepLimit = 10 * time.Second

// nursery starts inits, and ends what one leaves that was killed itself: it
// falls to this process, which is the reaper of its orphans.
type nursery struct {
	program *os.File

	mu sync.Mutex // also while an init is being started
	// known are the children that are nobody's orphans: inits, and what this
	// process had when it became a runner.
	known map[int]bool
}

func newNursery(program []byte) (*nursery, error) {
	file, err := inMemory(program)
	if err != nil {
		return nil, fmt.Errorf("keep the init's program in memory: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		file.Close()
		return nil, fmt.Errorf("become the reaper of orphans: %w", err)
	}
	n := &nursery{program: file, known: map[int]bool{}}
	for _, pid := range children.List() {
		n.known[pid] = true
	}
	return n, nil
}

func (n *nursery) close() { n.program.Close() }

// inMemory makes a file of a program that is in no folder: those that runs can
// write to may not be such that programs can be started from them. It is sealed.
func inMemory(program []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("tide-init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "tide-init")
	_, err = file.Write(program)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// child is an init, which waits for its order.
type child struct {
	nursery *nursery
	process *os.Process
	order   *os.File
	watch   *os.File
}

// start starts an init with the input, output and error of a run.
func (n *nursery) start(name string, folder *os.File, streams [3]*os.File) (*child, error) {
	orderRead, orderWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer orderRead.Close()
	watchRead, watchWrite, err := os.Pipe()
	if err != nil {
		orderWrite.Close()
		return nil, err
	}
	defer watchRead.Close()
	files := make([]*os.File, order.ProgramFD+1)
	copy(files, streams[:])
	files[order.PipeFD], files[order.FolderFD], files[order.WatchFD], files[order.ProgramFD] = orderRead, folder, watchRead, n.program
	n.mu.Lock()
	defer n.mu.Unlock()
	process, err := os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", order.ProgramFD), []string{"tide-init", name}, &os.ProcAttr{
		Env: []string{"GOMAXPROCS=1"}, Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		orderWrite.Close()
		watchWrite.Close()
		return nil, fmt.Errorf("start the init: %w", err)
	}
	n.known[process.Pid] = true
	return &child{nursery: n, process: process, order: orderWrite, watch: watchWrite}, nil
}

// give gives the init its order.
func (c *child) give(o order.Order) error {
	_ = c.order.SetWriteDeadline(time.Now().Add(10 * time.Second)) // an init that is stopped
	_, err := c.order.Write(o.Encode())
	return errors.Join(err, c.order.Close())
}

// renew tells until when the run may go on.
func (c *child) renew(until moment) {
	_ = c.watch.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.watch.Write(order.Renewal(int64(until))) // if it has ended, that will be noticed
}

func (c *child) signal(signal syscall.Signal) { _ = c.process.Signal(signal) }

// wait returns when the init is dead and nothing of what it started is left. It
// gives the init's exit status; -1: it was killed.
func (c *child) wait() (code int) {
	state, err := c.process.Wait()
	c.order.Close()
	c.watch.Close()
	c.nursery.mu.Lock()
	delete(c.nursery.known, c.process.Pid)
	c.nursery.mu.Unlock()
	if err == nil && state.Exited() {
		return state.ExitCode()
	}
	c.nursery.sweep()
	return -1
}

// sweep kills all orphans. Those below them become orphans in turn.
func (n *nursery) sweep() {
	for deadline := time.Now().Add(sweepLimit); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		orphans := n.orphans()
		if len(orphans) == 0 {
			return
		}
		for _, pid := range orphans {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
}

func (n *nursery) orphans() []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	var found []int
	for _, pid := range children.List() {
		if !n.known[pid] {
			found = append(found, pid)
		}
	}
	return found
}
