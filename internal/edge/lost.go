package edge

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/springtide/springtide"
)

const (
	// reachLimit is how long an instance that is said to be lost has to take a
	// connection: the kernel asks twice in that time.
	reachLimit = 2 * time.Second
	// doubtInterval is between two looks at one that can be reached.
	doubtInterval = 5 * time.Second
)

// doubt gives up what is open on an instance that is said to be lost, if that is
// so: nothing would ever come of it. Whoever says so does not see what the edge
// does. A machine that its cluster does not hear of may serve on, and after the
// cluster itself was away all of them seem lost; so it is the edge that looks, as
// long as anything is open. The gate's lock is held.
func (g *gate) doubt(i *instance) {
	if i.doubted || len(i.leases) == 0 {
		return
	}
	i.doubted = true
	go g.look(i, i.Address)
}

func (g *gate) look(i *instance, address string) {
	reachable := canReach(address)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case i.State != springtide.BackendLost || i.Address != address || len(i.leases) == 0:
		i.doubted = false // the next table may say it again
	case reachable:
		time.AfterFunc(doubtInterval, func() { g.look(i, address) })
	default:
		i.doubted = false
		open := len(i.leases)
		i.end(errInstanceLost, false)
		go g.logger.Warn("what is open on an instance is given up: it is lost, and cannot be reached", // not with the lock held
			"instance", i.Instance, "address", address, "open", open)
	}
}

// canReach says that a machine answers, be it that nobody listens there; also if the
// edge itself has no socket left to find out.
func canReach(address string) bool {
	dialer := net.Dialer{Timeout: reachLimit}
	conn, err := dialer.DialContext(context.Background(), "tcp", address)
	if err == nil {
		conn.Close()
	}
	unreached := isTimeout(err) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
	return err == nil || !unreached
}
