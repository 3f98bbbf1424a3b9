package supervisor

import (
	"fmt"
	"log/slog"
	"time"
)

const (
	// settled is how long a process must have lived to be started again at once.
	settled = 2 * time.Second
	// firstPause comes before the next start of one that did not; it doubles as
	// long as that goes on.
	firstPause = time.Second
)

// part is a process of the platform that is started again whenever it ends.
type part struct {
	*child
	name  string
	start func() (*child, error)
	// longest bounds the pause between two starts.
	longest time.Duration
	logger  *slog.Logger

	pause time.Duration
	due   <-chan time.Time // when to start it; nil while it runs
}

// ended is closed once the process has ended and nothing is done about it yet.
func (p *part) ended() <-chan struct{} {
	if p.due != nil {
		return nil
	}
	return p.done
}

// schedule plans the next start of a process that has ended.
func (p *part) schedule() {
	if time.Since(p.started) >= settled {
		p.pause = 0
	}
	p.logger.Error("a process of the platform ended and is started again", "process", p.name, "pid", p.pid, "status", p.describe(), "in", p.pause)
	p.plan()
}

// plan sets when the next start is due, and lengthens the pause after that.
func (p *part) plan() {
	p.due = time.After(p.pause)
	p.pause = min(max(2*p.pause, firstPause), p.longest)
}

// again starts the process. If that is not possible it is tried again later.
func (p *part) again() {
	p.due = nil
	started, err := p.start()
	if err != nil {
		p.logger.Error("a process of the platform could not be started; it is tried again", "process", p.name, "error", err, "in", p.pause)
		p.plan()
		return
	}
	p.child = started
}

func (c *child) describe() string {
	switch {
	case c.status == nil:
		return "unknown"
	case c.status.Signaled():
		return "killed by " + c.status.Signal().String()
	default:
		return fmt.Sprintf("exit status %d", c.status.ExitStatus())
	}
}
