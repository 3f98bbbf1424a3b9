package edge

import (
	"context"
	"time"
)

// drainLook is how often an edge that goes on draining looks whether there is
// still a reason to.
const drainLook = time.Minute

// serveUntilDrained returns when the edge is to end:
//
//	serving ── Drain ──→ draining ── no connection left, or the limit ──→ ended
//	   └────── Finish ──────┴──────→ finishing ── 4 s at most ──→ ended
func (e *edge) serveUntilDrained(ctx context.Context) {
	defer e.closeAll()
	select {
	case <-e.options.Drain:
		e.leave()
		if e.drain(ctx) {
			return
		}
	case <-e.options.Finish:
		e.leave()
	case <-ctx.Done():
		return
	}
	e.finishOpen(ctx)
}

// leave stops accepting. What this process has accepted is served; what it has
// not is left to those that hold the socket's duplicates.
func (e *edge) leave() {
	e.options.Logger.Info("the edge accepts no more connections")
	if err := e.handback.leave(); err != nil {
		e.options.Logger.Warn("the next supervisor will not know of this edge", "error", err)
		e.handback.close()
	}
	e.closeDoors()
	e.cache.Release()
	e.draining.Store(true) // from now on each answer asks its connection to end, and each report says so
	e.drainSessions()
	e.bell.urgent()
}

// drainSessions asks the connections over HTTP/2 to end.
func (e *edge) drainSessions() {
	for _, w := range e.clock.snapshot(nil) {
		if s, ok := w.(*session); ok {
			s.Drain()
		}
	}
}

// drain waits for the connections to end by themselves. It reports false when
// that takes too long: longer than DrainLimit, and than any process is given of
// which something is open.
func (e *edge) drain(ctx context.Context) bool {
	began := time.Now()
	limit := time.NewTimer(e.options.DrainLimit)
	defer limit.Stop()
	idle := time.NewTimer(e.options.IdleLimit)
	defer idle.Stop()
	e.accepting.Wait()
	for !e.room.empty() {
		select {
		case <-e.room.left:
		case <-idle.C:
			e.closeIdle()
		case <-limit.C:
			if more := time.Until(began.Add(e.router.longestDrain())); more > 0 {
				limit.Reset(min(more, drainLook))
				continue
			}
			e.options.Logger.Warn("the drain limit is reached; ending what is left")
			return false
		case <-e.options.Finish:
			return false
		case <-ctx.Done():
			return false
		}
	}
	e.options.Logger.Info("the edge has drained")
	return true
}

// closeIdle closes the connections over HTTP/1 and HTTP/3 that have been idle for all of
// IdleLimit. Those over HTTP/2 were told in words.
func (e *edge) closeIdle() {
	for _, w := range e.clock.snapshot(nil) {
		switch c := w.(type) {
		case *connection:
			c.closeIdle()
		case *quicVisitor:
			c.closeIdle()
		}
	}
}

// finishOpen ends the streams politely, gives the rest a moment, and cuts it off.
func (e *edge) finishOpen(ctx context.Context) {
	limit := time.NewTimer(finishLimit)
	defer limit.Stop()
	e.router.end(errEdgeClosing, true)
	e.closeIdle()
	for !e.room.empty() {
		select {
		case <-e.room.left:
		case <-limit.C:
			e.options.Logger.Warn("the edge cuts off what has not ended")
			return
		case <-ctx.Done():
			return
		}
	}
}

// closeAll ends whatever is left.
func (e *edge) closeAll() {
	defer e.quic.close()
	e.handback.close()
	e.closeDoors()
	e.router.end(errEdgeClosing, false)
	e.room.closeAll()
	e.accepting.Wait()
}

// closeDoors closes this process's duplicates of the listening sockets.
func (e *edge) closeDoors() {
	for _, door := range e.doors {
		_ = door.Close()
	}
	for _, listener := range e.options.Listeners {
		_ = listener.File.Close()
	}
}
