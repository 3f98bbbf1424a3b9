package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/coder/websocket"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// ShellRequest asks for a terminal in an instance, or for the client of a service.
type ShellRequest struct {
	Environment springtide.EnvironmentID
	Instance    springtide.InstanceID
	// Service is asked for where Instance is empty; Command are then arguments.
	Service springtide.ServiceName
	// Command and its arguments; empty: a shell.
	Command []string
	Size    api.TerminalSize
	// Terminal is the value of TERM; may be empty.
	Terminal string
	// Pipes are wanted in place of a terminal: what is written arrives as it is.
	Pipes bool
}

// Shell is an open terminal. Reading gives what is shown, up to io.EOF when the
// command has ended; writing is typing.
type Shell struct {
	ctx    context.Context // of the whole conversation
	stop   func() bool     // lets go of ctx
	socket *websocket.Conn
	unread []byte
	code   int
}

// OpenShell opens a terminal; ctx ends it.
func (c *Client) OpenShell(ctx context.Context, r ShellRequest) (*Shell, error) {
	query := url.Values{"command": r.Command}
	set(query, "terminal", r.Terminal)
	if r.Size.Rows > 0 && r.Size.Columns > 0 {
		query.Set("rows", strconv.Itoa(int(r.Size.Rows)))
		query.Set("columns", strconv.Itoa(int(r.Size.Columns)))
	}
	if r.Pipes {
		query.Set("pipes", "true")
	}
	header := http.Header{}
	c.introduce(header)
	path := environmentPath(r.Environment, "instances", string(r.Instance), "shell")
	if r.Instance == "" {
		path = environmentPath(r.Environment, "services", string(r.Service), "shell")
	}
	target := c.base + path + "?" + query.Encode()
	socket, response, err := websocket.Dial(ctx, target, &websocket.DialOptions{HTTPClient: c.http, HTTPHeader: header})
	if err != nil {
		if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
			return nil, problem(response)
		}
		return nil, c.unreachable(ctx, err)
	}
	socket.SetReadLimit(1 << 20)
	stop := context.AfterFunc(ctx, func() { _ = socket.CloseNow() }) // also when nobody reads or writes
	return &Shell{ctx: ctx, socket: socket, stop: stop}, nil
}

// Read gives what is shown.
func (s *Shell) Read(b []byte) (int, error) {
	for len(s.unread) == 0 {
		kind, data, err := s.socket.Read(s.ctx)
		if err != nil {
			if s.ctx.Err() != nil {
				return 0, s.ctx.Err()
			}
			return 0, springtide.Errorf(springtide.Unavailable, "the shell broke off: %w", err)
		}
		if kind == websocket.MessageBinary {
			s.unread = data
			continue
		}
		var message api.ShellMessage
		if err := json.Unmarshal(data, &message); err != nil {
			return 0, err
		}
		if message.Error != nil {
			return 0, message.Error
		}
		if message.Exit != nil {
			s.code = *message.Exit
			return 0, io.EOF
		}
	}
	n := copy(b, s.unread)
	s.unread = s.unread[n:]
	return n, nil
}

// largestMessage is in bytes; servers take twice as much.
const largestMessage = 16 << 10

// Write types.
func (s *Shell) Write(b []byte) (int, error) {
	written := 0
	for part := range slices.Chunk(b, largestMessage) {
		if err := s.socket.Write(s.ctx, websocket.MessageBinary, part); err != nil {
			return written, err
		}
		written += len(part)
	}
	return written, nil
}

// Resize tells the new size of the terminal.
func (s *Shell) Resize(size api.TerminalSize) error {
	return s.tell(api.ShellMessage{Resize: &size})
}

// End tells that nothing more is written into a pipe.
func (s *Shell) End() error { return s.tell(api.ShellMessage{End: true}) }

func (s *Shell) tell(message api.ShellMessage) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return s.socket.Write(s.ctx, websocket.MessageText, text)
}

// ExitCode gives how the command ended; to be asked after Read gave io.EOF.
func (s *Shell) ExitCode() int { return s.code }

// Close hangs up.
func (s *Shell) Close() error {
	s.stop()
	err := s.socket.Close(websocket.StatusNormalClosure, "")
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
