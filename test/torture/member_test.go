package torture

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// member is a process of the platform. Whenever it ends it is started again,
// until it is retired.
type member struct {
	name string
	// program makes the command that it runs.
	program func() *exec.Cmd

	mu      sync.Mutex
	command *exec.Cmd
	ended   chan error // of the command
	retired bool
	over    chan struct{} // it will not be started any more
}

// start runs the member until it is retired, or the test is over.
func start(t *testing.T, name string, program func() *exec.Cmd) *member {
	t.Helper()
	m := &member{name: name, program: program, over: make(chan struct{})}
	if err := m.begin(); err != nil {
		t.Fatal(err)
	}
	go m.keep()
	t.Cleanup(func() { m.end(syscall.SIGKILL, 0) })
	return m
}

func (m *member) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.retired {
		return errors.New("it is retired")
	}
	m.command, m.ended = m.program(), make(chan error, 1)
	m.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it never outlives the test
	started := make(chan error)
	go func(command *exec.Cmd, ended chan error) {
		runtime.LockOSThread() // or that signal comes as soon as the thread has nothing to do
		err := command.Start()
		started <- err
		if err == nil {
			ended <- command.Wait()
		}
	}(m.command, m.ended)
	if err := <-started; err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

// keep starts it again and again.
func (m *member) keep() {
	defer close(m.over)
	for {
		m.mu.Lock()
		ended := m.ended
		m.mu.Unlock()
		err := <-ended
		ended <- err // for whoever asks how it ended
		time.Sleep(200 * time.Millisecond)
		if m.begin() != nil {
			return
		}
	}
}

// signal sends a signal to the process alone, not to its children.
func (m *member) signal(signal syscall.Signal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.command.Process.Signal(signal) // one that has just ended is started again anyway
}

// again ends the process so that it is started again: with SIGTERM if it heeds
// that within the patience.
func (m *member) again(patience time.Duration) error {
	m.mu.Lock()
	command, ended := m.command, m.ended
	m.mu.Unlock()
	_ = command.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		ended <- err
		return err
	case <-time.After(patience):
		_ = command.Process.Kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", m.name, patience)
	}
}

// end retires it, and tells how it ended.
func (m *member) end(signal syscall.Signal, patience time.Duration) error {
	m.mu.Lock()
	was := m.retired
	m.retired = true
	command := m.command
	m.mu.Unlock()
	if was {
		<-m.over
		return nil
	}
	_ = command.Process.Signal(signal)
	_ = command.Process.Signal(syscall.SIGCONT)
	var late error
	if patience > 0 {
		select {
		case <-m.over:
		case <-time.After(patience):
			late = fmt.Errorf("%s did not end within %s of %s", m.name, patience, signal)
			_ = command.Process.Kill()
		}
	}
	<-m.over
	if late == nil && signal != syscall.SIGKILL && !command.ProcessState.Success() {
		return fmt.Errorf("%s: %s", m.name, command.ProcessState)
	}
	return late
}

// log opens the file that the processes of a name write to.
func (w *world) log(name string) *os.File {
	file, err := os.OpenFile(w.folder+"/"+name+".log", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		panic(err) // the folder is ours
	}
	return file
}
