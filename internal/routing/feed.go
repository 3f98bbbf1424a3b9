package routing

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// acceptPause comes after an edge could not be accepted.
const acceptPause = 100 * time.Millisecond

// Serve accepts edges on the listener until ctx ends, and closes it.
func (p *Publisher) Serve(ctx context.Context, listener net.Listener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	defer listener.Close()
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	p.mu.Lock()
	if p.serving.IsZero() {
		p.serving = time.Now()
	}
	p.mu.Unlock()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // too many files are open, say: that passes
			p.options.Logger.Error("an edge could not be accepted; it is tried again", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		conns.Go(func() {
			if err := p.attend(ctx, conn); err != nil && ctx.Err() == nil {
				p.options.Logger.Warn("an edge's connection broke", "error", err)
			}
		})
	}
}

// attend speaks with one edge until either side is gone.
func (p *Publisher) attend(ctx context.Context, conn net.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	reports := json.NewDecoder(conn)
	var hello springtide.EdgeReport
	if err := reports.Decode(&hello); err != nil {
		return ignoreEnd(err)
	}
	p.connect(hello.Edge)
	p.options.Connected(p.names())
	defer func() {
		p.disconnect(hello.Edge)
		p.options.Connected(p.names())
	}()
	p.take(hello)

	var sender sync.WaitGroup
	defer sender.Wait()
	defer cancel()
	sender.Go(func() {
		if err := p.send(ctx, conn, hello); err != nil && ctx.Err() == nil {
			p.options.Logger.Warn("an edge did not take the routing table", "edge", hello.Edge, "error", err)
		}
		cancel()
	})
	for {
		var report springtide.EdgeReport
		if err := reports.Decode(&report); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return ignoreEnd(err)
		}
		p.take(report)
	}
}

// send writes every newer table to the edge until ctx ends; tables that were
// replaced meanwhile are left out. The first one is whole, since the edge may have
// its own from another publisher; then an edge that takes changes gets those.
func (p *Publisher) send(ctx context.Context, conn net.Conn, hello springtide.EdgeReport) error {
	sent, whole := hello.Acknowledged, true
	for {
		p.mu.Lock()
		edition, changed := p.edition, p.changed
		p.mu.Unlock()
		if version := edition.table.Version; version > sent {
			line, err := edition.text(sent, whole)
			if err != nil {
				return err
			}
			if err := conn.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
				return err
			}
			if _, err := conn.Write(line); err != nil {
				return err
			}
			sent, whole = version, !hello.Changes
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *Publisher) connect(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, known := p.edges[name]
	if !known {
		e = &edge{}
		p.edges[name] = e
	}
	e.connections++
	p.notify()
}

func (p *Publisher) disconnect(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.edges[name]
	if e.connections--; e.connections == 0 {
		e.lost = time.Now()
		if e.leaving { // it had drained, and is gone
			delete(p.edges, name)
		}
	}
	p.notify()
}

func (p *Publisher) names() []string {
	var names []string
	for _, edge := range p.Edges() {
		names = append(names, edge.Name)
	}
	return names
}

// take keeps what an edge reports and passes it on, once and in order.
func (p *Publisher) take(report springtide.EdgeReport) {
	loads := make(map[springtide.InstanceID]springtide.InstanceLoad, len(report.Instances))
	for _, load := range report.Instances {
		loads[load.Instance] = load
	}
	p.mu.Lock()
	e := p.edges[report.Edge]
	if e == nil { // it changed its name between two lines
		e = &edge{lost: time.Now()}
		p.edges[report.Edge] = e
	}
	if report.Sequence > 0 && report.Sequence <= e.sequence { // it was told before, or it is late
		p.mu.Unlock()
		return
	}
	e.sequence = report.Sequence
	e.acknowledged, e.leaving, e.loads, e.faults = report.Acknowledged, report.Leaving, loads, report.Faults
	p.ahead = max(p.ahead, report.Acknowledged)
	behind := p.edition.table.Version > 0 && p.edition.table.Version < p.ahead
	p.notify()
	p.mu.Unlock()
	if behind {
		p.Refresh()
	}
	p.options.Report(report)
}

// ignoreEnd hides the ordinary ends of a connection.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
