package edge

import (
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"
)

// The measures of having too many connections.
const (
	// crowdedFor is for how long connections wait for room before they are refused.
	crowdedFor = time.Second
	// tellCrowd is how often it is logged that they are.
	tellCrowd = 10 * time.Second
	// reservedFiles are for all that is no connection of a client's, nor the
	// instance's connection that belongs to it.
	reservedFiles = 256
	refusal       = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

// affordable gives how many connections there may be: as many as are wanted, or as
// this process may have files open for.
func affordable(wanted int, logger *slog.Logger) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		logger.Warn("the limit of open files is not known", "error", err)
		return wanted
	}
	most := max((int(min(limit.Cur, 1<<30))-reservedFiles)/2, 16)
	if wanted <= most {
		return wanted
	}
	logger.Warn("the limit of open files allows fewer connections than would be served; raise it (LimitNOFILE= of the service, ulimit -n)",
		"files", limit.Cur, "connections", most, "wanted", wanted)
	return most
}

// crowd is what a door does when more come than there is room for.
type crowd struct {
	logger *slog.Logger
	full   time.Time // since when there has been no room; zero: there is
	told   time.Time
	spare  *os.File // is closed to accept, and refuse, one more when no file is left
}

// await takes a place. It reports false if there has been none for a while.
func (c *crowd) await(room *room, closed <-chan struct{}) (bool, error) {
	if room.take() {
		c.full = time.Time{}
		return true, nil
	}
	now := time.Now()
	if c.full.IsZero() {
		c.full = now
	}
	timer := time.NewTimer(crowdedFor - now.Sub(c.full))
	defer timer.Stop()
	select {
	case room.places <- struct{}{}:
		c.full = time.Time{}
		return true, nil
	case <-timer.C:
		return false, nil
	case <-closed:
		return false, net.ErrClosed
	}
}

// refuse tells a client that there is no room: in words, where it understands them.
func (c *crowd) refuse(conn *wire, door string) {
	c.tell()
	if door != HTTPS {
		_, _ = io.WriteString(conn, refusal)
		_ = conn.CloseWrite()
		conn.impatient.Store(true)
		_, _ = conn.Read(make([]byte, 4<<10)) // or the kernel takes the answer back
	}
	conn.Close()
}

// turnAway accepts and closes a connection though no more files can be opened.
func (c *crowd) turnAway(from net.Listener, why error) error {
	c.tell()
	if c.spare == nil {
		c.keepSpare()
		return why
	}
	c.spare.Close()
	defer c.keepSpare()
	conn, err := from.Accept()
	if err == nil {
		conn.Close()
	}
	return err
}

func (c *crowd) keepSpare() {
	var err error
	if c.spare, err = os.Open(os.DevNull); err != nil {
		c.spare = nil
	}
}

func (c *crowd) tell() {
	if now := time.Now(); now.Sub(c.told) >= tellCrowd {
		c.told = now
		c.logger.Warn("there are as many connections as there may be; more are refused")
	}
}
