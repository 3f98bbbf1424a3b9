package supervisor

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// end is the one way down: refuse new connections, let what is open end, retire
// the instances, stop the control plane, stop the edge, leave nothing.
func (s *Supervisor) end(force <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-force:
			s.options.Logger.Warn("ending by force")
			cancel()
		case <-ctx.Done():
		}
	}()
	closeAll(s.listeners)
	s.edge.signal(unix.SIGTERM)
	if s.options.Drain != nil {
		if err := s.options.Drain(ctx); err != nil {
			s.options.Logger.Warn("the instances did not all end by themselves", "error", err)
		}
	}
	s.control.stop(unix.SIGTERM, controlStopLimit)
	for _, edge := range append(s.leaving, s.edge.child) {
		edge.stop(unix.SIGQUIT, edgeStopLimit)
	}
	return s.family.killOrphans()
}
