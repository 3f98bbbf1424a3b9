package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/socket"
)

// handbackTimeout bounds what a supervisor that hangs can hold up.
const handbackTimeout = 5 * time.Second

// handback gives duplicates of the listening sockets to whoever connects: a
// supervisor whose predecessor was killed.
type handback struct {
	path   string
	logger *slog.Logger
	socket *net.UnixListener

	mu        sync.Mutex
	listeners []Listener // none once the edge drains
}

// handbackLine goes along with the sockets and names them in order.
type handbackLine struct {
	Listeners []string `json:"listeners"`
}

func handbackPath(dataFolder string) string {
	return filepath.Join(dataFolder, "run", fmt.Sprintf("edge-%d.sock", os.Getpid()))
}

func newHandback(path string, listeners []Listener, logger *slog.Logger) (*handback, error) {
	listening, err := socket.Listen(path)
	if err != nil {
		return nil, err
	}
	return &handback{path: path, listeners: listeners, logger: logger, socket: listening}, nil
}

// run answers until close is called.
func (h *handback) run() {
	for {
		conn, err := h.socket.AcceptUnix()
		if err != nil {
			return
		}
		if err := h.give(conn); err != nil {
			h.logger.Error("the listeners could not be handed back", "error", err)
		}
		conn.Close()
	}
}

// leave has a supervisor find the edge as one that drains: at run/leaving-PID.sock,
// without listeners.
func (h *handback) leave() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners = nil
	folder, name := filepath.Split(h.path)
	to := filepath.Join(folder, "leaving"+strings.TrimPrefix(name, "edge"))
	if err := os.Rename(h.path, to); err != nil {
		return err
	}
	h.path = to
	return nil
}

func (h *handback) close() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.socket.Close()
	os.Remove(h.path)
}

func (h *handback) give(conn *net.UnixConn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var line handbackLine
	var descriptors []int
	for _, listener := range h.listeners {
		line.Listeners = append(line.Listeners, listener.Name)
		descriptors = append(descriptors, int(listener.File.Fd()))
	}
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(handbackTimeout)); err != nil {
		return err
	}
	var rights []byte
	if len(descriptors) > 0 {
		rights = syscall.UnixRights(descriptors...)
	}
	_, _, err = conn.WriteMsgUnix(append(text, '\n'), rights, nil)
	return err
}

// Reclaim asks the edge behind the socket at path (run/edge-PID.sock) for
// duplicates of its listening sockets, in its order. The caller closes them. One that
// drains (run/leaving-PID.sock) has none.
func Reclaim(ctx context.Context, path string) ([]Listener, error) {
	conn, err := socket.Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(handbackTimeout)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	text, control := make([]byte, 64<<10), make([]byte, syscall.CmsgSpace(253*4))
	n, controlLength, _, _, err := conn.ReadMsgUnix(text, control)
	if err != nil {
		return nil, fmt.Errorf("reclaim listeners from %s: %w", path, err)
	}
	files, err := filesOf(control[:controlLength])
	if err != nil {
		return nil, fmt.Errorf("reclaim listeners from %s: %w", path, err)
	}
	var line handbackLine
	err = json.Unmarshal(text[:n], &line)
	if err == nil && len(line.Listeners) != len(files) {
		err = springtide.Errorf(springtide.Failed, "%d names for %d sockets", len(line.Listeners), len(files))
	}
	if err != nil {
		for _, file := range files {
			file.Close()
		}
		return nil, fmt.Errorf("reclaim listeners from %s: %w", path, err)
	}
	listeners := make([]Listener, len(files))
	for i, file := range files {
		listeners[i] = Listener{line.Listeners[i], file}
	}
	return listeners, nil
}

func filesOf(control []byte) ([]*os.File, error) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		descriptors, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue // not file descriptors
		}
		for _, descriptor := range descriptors {
			syscall.CloseOnExec(descriptor)
			files = append(files, os.NewFile(uintptr(descriptor), "listener"))
		}
	}
	return files, nil
}
