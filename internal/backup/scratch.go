package backup

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// scratchStop is how long a restored server may take to end before it is killed.
const scratchStop = 20 * time.Second

// startScratch starts a server that is to be looked at: after all that serves,
// and dying with this process. stop ends it. Should it end by itself, so does
// the context that is given.
func startScratch(ctx context.Context, server service.Server, process service.Process) (context.Context, func(), error) {
	output, err := os.OpenFile(filepath.Join(server.Folder, "log", "server.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, nil, unavailable(err)
	}
	defer output.Close()
	command := server.Command(context.WithoutCancel(ctx), process)
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr.Setsid, command.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	started, ended := make(chan error), make(chan struct{})
	ctx, end := context.WithCancelCause(ctx)
	go nicely(func() { // its thread must last as long as the server: see Pdeathsig
		defer close(ended)
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // how it ended is in ProcessState
			end(endedEarly(server, command.ProcessState.String()))
		}
	})
	if err := <-started; err != nil {
		return nil, nil, springtide.Errorf(springtide.Failed, "the restored server of %s cannot be started: %w", server.ID, err)
	}
	return ctx, func() { stopScratch(command, process, ended) }, nil
}

// endedEarly says how a server has ended that was not told to.
func endedEarly(server service.Server, how string) error {
	e := springtide.Errorf(springtide.Failed, "the restored server of %s has ended: %s", server.ID, how)
	var last tail
	if file, err := os.Open(filepath.Join(server.Folder, "log", "server.log")); err == nil {
		defer file.Close()
		_, _ = file.WriteTo(&last)
	}
	e.Lines = strings.Split(strings.TrimSpace(last.String()), "\n")
	return e
}

// stopScratch ends the server, in good order if it can.
func stopScratch(command *exec.Cmd, process service.Process, ended <-chan struct{}) {
	stop := process.Stop
	if stop == 0 {
		stop = syscall.SIGTERM
	}
	_ = command.Process.Signal(stop) // it may have ended
	select {
	case <-ended:
		return
	case <-time.After(scratchStop):
	}
	_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
	<-ended
}
