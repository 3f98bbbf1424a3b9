package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"github.com/creack/pty"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
)

const (
	// hangUpWithin is how long a shell may go on after its terminal is gone.
	hangUpWithin = 5 * time.Second
	// silentFor is how long nothing comes from a command that has ended until who
	// keeps its terminal open is taken for a child of it.
	silentFor = 2 * time.Second
	// mostUnread is how much of what it wrote nobody may have read by then: as much
	// as a pipe holds.
	mostUnread = 64 << 10
)

// ShellMessage is a text message of a shell's WebSocket: Resize from the client,
// or End when nothing more goes into a pipe, Exit or Error from the server as its
// last.
type ShellMessage struct {
	Resize *TerminalSize     `json:"resize,omitempty"`
	End    bool              `json:"end,omitempty"`
	Exit   *int              `json:"exit,omitempty"`
	Error  *springtide.Error `json:"error,omitempty"`
}

// TerminalSize is in characters.
type TerminalSize struct {
	Rows    uint16 `json:"rows"`
	Columns uint16 `json:"columns"`
}

// TerminalQuery says what is to be run in a terminal, and how that is.
type TerminalQuery struct {
	Command  []string `query:"command,explode" doc:"the command and its arguments; a shell if there is none"`
	Rows     uint16   `query:"rows" default:"24"`
	Columns  uint16   `query:"columns" default:"80"`
	Terminal string   `query:"terminal" default:"xterm" maxLength:"40" pattern:"^[A-Za-z0-9._+-]+$" doc:"the value of TERM"`
	Pipes    bool     `query:"pipes" doc:"no terminal: what comes in is passed on as it is, up to a message that it has ended"`
}

type shellInput struct {
	EnvironmentPath
	Instance springtide.InstanceID `path:"instance"`
	TerminalQuery
}

type serviceShellInput struct {
	ServicePath
	TerminalQuery
}

// opening is a shell that is to be opened: where, its name in the recording, and
// what gives the command.
type opening struct {
	TerminalQuery
	in, name string
	prepare  func(context.Context) (*exec.Cmd, error)
}

func (s *Server) shell(ctx context.Context, in *shellInput) (func(huma.Context), error) {
	if err := s.mustBeOf(ctx, in.id(), in.Instance); err != nil {
		return nil, err
	}
	return s.shellOf(opening{in.TerminalQuery, in.id().String(), string(in.Instance), func(ctx context.Context) (*exec.Cmd, error) {
		return s.platform.Shells.Shell(ctx, in.Instance, in.Command)
	}}), nil
}

func (s *Server) serviceShell(ctx context.Context, in *serviceShellInput) (func(huma.Context), error) {
	if _, err := s.platform.Services.Service(ctx, in.service()); err != nil {
		return nil, err
	}
	return s.shellOf(opening{in.TerminalQuery, in.id().String(), string(in.Name), func(ctx context.Context) (*exec.Cmd, error) {
		return s.platform.Services.ServiceShell(ctx, in.service(), in.Command)
	}}), nil
}

func (s *Server) shellOf(o opening) func(huma.Context) {
	return func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		serving, done := whileServing(r.Context())
		defer done()
		s.openShell(serving, w, r, o)
	}
}

// mustBeOf refuses an instance that is not one of the environment.
func (s *Server) mustBeOf(ctx context.Context, id springtide.EnvironmentID, wanted springtide.InstanceID) error {
	instances, err := s.platform.Observer.Instances(ctx, id)
	if err != nil {
		return err
	}
	for _, instance := range instances {
		if instance.ID == wanted {
			return nil
		}
	}
	return springtide.Errorf(springtide.NotFound, "%s has no instance %s", id, wanted).
		WithHint("`tide ps` lists them")
}

// openShell makes the WebSocket, the terminal and the command, and joins them
// until one of them ends.
func (s *Server) openShell(ctx context.Context, w http.ResponseWriter, r *http.Request, o opening) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The command is hung up before it is killed, so it outlives ctx.
	command, err := o.prepare(context.WithoutCancel(ctx))
	if err != nil {
		writeError(w, err)
		return
	}
	recording, err := newRecording(s.recordings, o, callerOf(r.Context()))
	if err != nil {
		writeError(w, springtide.Errorf(springtide.Unavailable, "the shell cannot be recorded: %w", err))
		return
	}
	defer func() {
		if err := recording.Close(); err != nil {
			s.logger.Error("recording of a shell is not whole", "in", o.in, "of", o.name, "error", err)
		}
	}()
	socket, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = socket.CloseNow() }()
	if command.Env == nil {
		command.Env = os.Environ()
	}
	command.Env = append(command.Env, "TERM="+o.Terminal)
	terminal, err := startOn(command, o.TerminalQuery)
	if err != nil {
		s.endShell(ctx, socket, ShellMessage{Error: springtide.Errorf(springtide.Failed, "the shell does not start: %w", err)})
		return
	}
	s.logger.Info("shell opened", "in", o.in, "of", o.name, "owner", callerOf(r.Context()).owner, "token", callerOf(r.Context()).token)
	go func() {
		defer cancel() // the client is gone
		readShell(ctx, socket, terminal, recording)
	}()
	shown := &shown{over: make(chan struct{})}
	go func() {
		defer close(shown.over)
		showShell(ctx, socket, terminal.out, recording, shown)
	}()
	code := waitShell(ctx, command, terminal, shown)
	s.endShell(ctx, socket, ShellMessage{Exit: &code})
}

// line is how a command is talked with: a terminal, which is both, or two pipes.
type line struct{ in, out *os.File }

// startOn starts a command in a session of its own.
func startOn(command *exec.Cmd, q TerminalQuery) (line, error) {
	if !q.Pipes {
		terminal, err := pty.StartWithSize(command, &pty.Winsize{Rows: q.Rows, Cols: q.Columns})
		return line{terminal, terminal}, err
	}
	heard, in, err := os.Pipe()
	if err != nil {
		return line{}, err
	}
	defer heard.Close()
	out, said, err := os.Pipe()
	if err != nil {
		return line{}, errors.Join(err, in.Close())
	}
	defer said.Close()
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Setsid = true
	command.Stdin, command.Stdout, command.Stderr = heard, said, said
	pipes := line{in, out}
	if err := command.Start(); err != nil {
		pipes.Close()
		return line{}, err
	}
	return pipes, nil
}

// Close hangs up.
func (l line) Close() {
	_ = l.in.Close()
	_ = l.out.Close() // again, if it is a terminal
}

// readShell passes on what is typed until the client is gone.
func readShell(ctx context.Context, socket *websocket.Conn, to line, recording *recording) {
	for {
		kind, data, err := socket.Read(ctx)
		if err != nil {
			return
		}
		if kind == websocket.MessageBinary {
			_, _ = to.in.Write(data) // an error is that of the command's end, which waitShell sees
			continue
		}
		var message ShellMessage
		switch err := json.Unmarshal(data, &message); {
		case err != nil:
		case message.End && to.in != to.out:
			_ = to.in.Close()
		case message.Resize != nil && to.in == to.out:
			_ = pty.Setsize(to.in, &pty.Winsize{Rows: message.Resize.Rows, Cols: message.Resize.Columns})
			recording.Resized(*message.Resize)
		}
	}
}

// shown is how far what a command shows was passed on.
type shown struct {
	bytes atomic.Int64
	over  chan struct{} // closed when nothing comes any more
}

// await returns when what a command wrote before it ended was read, which takes as
// long as its client does. A child may keep the terminal, and even go on writing.
func (s *shown) await(ctx context.Context, terminal *os.File) {
	for all := s.bytes.Load() + mostUnread; ; {
		select {
		case <-s.over:
			return
		case <-ctx.Done():
			return
		case <-time.After(silentFor):
			if !unread(terminal) || s.bytes.Load() >= all {
				return
			}
		}
	}
}

// unread tells whether there is something to read.
func unread(terminal *os.File) (there bool) {
	raw, err := terminal.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		asked := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(asked, 0)
		there = err == nil && n == 1 && asked[0].Revents&unix.POLLIN != 0
	})
	return err == nil && there
}

// showShell passes on what is shown until that is closed.
func showShell(ctx context.Context, socket *websocket.Conn, terminal *os.File, recording *recording, shown *shown) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := terminal.Read(buffer)
		if n > 0 {
			shown.bytes.Add(int64(n))
			recording.Shown(buffer[:n])
			if socket.Write(ctx, websocket.MessageBinary, buffer[:n]) != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// waitShell waits for the command's end and gives its exit code. When ctx ends
// first, the terminal is hung up, and then the command is killed.
func waitShell(ctx context.Context, command *exec.Cmd, terminal line, shown *shown) int {
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	var err error
	select {
	case err = <-ended:
		shown.await(ctx, terminal.out) // what it wrote last is still on its way
		terminal.Close()
	case <-ctx.Done():
		terminal.Close()
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGHUP) // a reader may keep the terminal open: say it
		select {
		case err = <-ended:
		case <-time.After(hangUpWithin):
			_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
			err = <-ended
		}
	}
	return exitCode(err)
}

// exitCode gives the exit status, 128 + the signal if one ended the command.
func exitCode(err error) int {
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return 0
	case !ok:
		return 1
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// endShell sends the last message and closes the WebSocket.
func (s *Server) endShell(ctx context.Context, socket *websocket.Conn, last ShellMessage) {
	text, err := json.Marshal(last)
	if err != nil {
		return
	}
	if socket.Write(ctx, websocket.MessageText, text) == nil {
		socket.Close(websocket.StatusNormalClosure, "")
	}
}
