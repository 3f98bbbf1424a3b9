package supervisor

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide/internal/edge"
)

// stateVariable hands the children and sockets from one image of the
// supervisor to the next: "lock=3 control=120
// edge=121 leaving=119 https=4 http=5".
const stateVariable = "TIDE_SUPERVISOR"

// ours reports whether a variable is meant for the supervisor, or for one of its
// children alone.
func ours(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	return slices.Contains([]string{stateVariable, "NOTIFY_SOCKET", "TIDE_OWNER", "TIDE_LISTENERS", "TIDE_READY"}, name)
}

// handover is what a supervisor finds of the one before.
type handover struct {
	lock          *os.File
	control, edge int
	leaving       []int
	listeners     []edge.Listener
}

// upgrade replaces this process's image by the binary on disk. Children,
// sockets and the lock go over. It returns only if that was not possible, or ctx
// has ended.
func (s *Supervisor) upgrade(ctx context.Context) error {
	state := fmt.Sprintf("lock=%d control=%d edge=%d", s.lock.Fd(), s.control.pid, s.edge.pid)
	for _, old := range s.leaving {
		if !old.over() {
			state += fmt.Sprintf(" leaving=%d", old.pid)
		}
	}
	files := append([]*os.File{s.lock}, s.options.Keep...)
	for _, listener := range s.listeners {
		state += fmt.Sprintf(" %s=%d", listener.Name, listener.File.Fd())
		files = append(files, listener.File)
	}
	defer func() {
		for _, file := range files {
			unix.CloseOnExec(int(file.Fd()))
		}
	}()
	for _, file := range files {
		if _, err := unix.FcntlInt(file.Fd(), unix.F_SETFD, 0); err != nil {
			return err
		}
	}
	// One more SIGHUP would end the new image while it has no handler yet.
	signal.Ignore(syscall.SIGHUP)
	defer signal.Notify(s.hangup, syscall.SIGHUP)
	if ctx.Err() != nil {
		return nil // the next image would not know that it is to end
	}
	err := syscall.Exec(s.options.Executable, os.Args, append(os.Environ(), stateVariable+"="+state))
	return fmt.Errorf("execute %s: %w", s.options.Executable, err)
}

// inherited reads what the image before handed over; nothing at a first start.
func inherited(getenv func(string) string) (handover, error) {
	var h handover
	for pair := range strings.FieldsSeq(getenv(stateVariable)) {
		name, text, _ := strings.Cut(pair, "=")
		number, err := strconv.Atoi(text)
		if err != nil {
			return h, fmt.Errorf("%s: %q is not name=number", stateVariable, pair)
		}
		switch name {
		case "lock":
			h.lock = inheritedFile(number, "lock")
		case "control":
			h.control = number
		case "edge":
			h.edge = number
		case "leaving":
			h.leaving = append(h.leaving, number)
		default:
			h.listeners = append(h.listeners, edge.Listener{Name: name, File: inheritedFile(number, name)})
		}
	}
	return h, os.Unsetenv(stateVariable)
}

func inheritedFile(descriptor int, name string) *os.File {
	unix.CloseOnExec(descriptor)
	return os.NewFile(uintptr(descriptor), name)
}
