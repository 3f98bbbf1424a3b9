package edge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/springtide/springtide"
)

// The pace of the feed.
const (
	reportInterval = 100 * time.Millisecond // between reports while anything changes
	hurryInterval  = 5 * time.Millisecond   // between reports that are urgent
	heartbeat      = 5 * time.Second        // when nothing happens
	reportTimeout  = 5 * time.Second        // for a control plane that does not read
	shortestPause  = 10 * time.Millisecond  // before connecting again
	longestPause   = 500 * time.Millisecond
)

// feed connects the edge to the control plane: tables in, reports out. Nothing
// in it is waited for by a request.
type feed struct {
	dial   func(context.Context) (net.Conn, error)
	bell   *bell
	logger *slog.Logger
	// report makes the next report, putBack takes its demand back if it could not be sent.
	report   func(now time.Time) springtide.EdgeReport
	putBack  func([]springtide.Demand)
	apply    func(springtide.Table)
	sequence int64 // of the last report
	// away gets a value when the control plane cannot be reached.
	away chan struct{}
	// told gets a value with every table.
	told chan struct{}
}

// run connects again and again until ctx ends.
func (f *feed) run(ctx context.Context) {
	pause := shortestPause
	connected := true // so that the first failure is logged
	for ctx.Err() == nil {
		conn, err := f.dial(ctx)
		if err == nil {
			connected, pause = true, shortestPause
			f.logger.Info("connected to the control plane")
			err = f.speak(ctx, conn)
		} else {
			pause = min(2*pause, longestPause)
		}
		notify(f.away)
		if connected && ctx.Err() == nil {
			f.logger.Warn("the control plane is away; serving on", "error", err)
			connected = false
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// speak uses one connection until it breaks or ctx ends. Then it says a last word.
func (f *feed) speak(ctx context.Context, conn net.Conn) error {
	var reason error
	broken := make(chan struct{})
	go func() {
		defer close(broken)
		reason = f.listen(conn)
	}()
	defer func() {
		conn.Close()
		<-broken
	}()
	for {
		sent := time.Now()
		if err := f.send(conn); err != nil {
			return err
		}
		f.wait(ctx, sent, broken)
		if ctx.Err() != nil {
			return f.send(conn)
		}
		select {
		case <-broken:
			return reason
		default:
		}
	}
}

// listen takes tables until the connection breaks.
func (f *feed) listen(conn net.Conn) error {
	tables := json.NewDecoder(conn)
	var table springtide.Table
	for {
		var change springtide.TableChange
		err := tables.Decode(&change)
		if errors.Is(err, io.EOF) {
			return errors.New("it closed the connection")
		}
		if err == nil {
			table, err = table.After(change)
		}
		if err != nil { // the next connection begins with a whole table
			return err
		}
		f.apply(table)
		notify(f.told)
	}
}

// wait returns when the next report is due, or the connection is of no more use.
func (f *feed) wait(ctx context.Context, sent time.Time, broken <-chan struct{}) {
	timer := time.NewTimer(heartbeat)
	defer timer.Stop()
	change, hurry := f.bell.change, f.bell.hurry
	for {
		select {
		case <-ctx.Done():
			return
		case <-broken:
			return
		case <-timer.C:
			return
		case <-change:
			change = nil
			timer.Reset(time.Until(sent.Add(reportInterval)))
		case <-hurry:
			change, hurry = nil, nil
			timer.Reset(time.Until(sent.Add(hurryInterval)))
		}
	}
}

// send writes one report.
func (f *feed) send(conn net.Conn) error {
	f.bell.clear()
	report := f.report(time.Now())
	f.sequence++
	report.Sequence, report.Changes = f.sequence, true
	line, err := json.Marshal(report)
	if err == nil {
		err = conn.SetWriteDeadline(time.Now().Add(reportTimeout))
	}
	if err == nil {
		_, err = conn.Write(append(line, '\n'))
	}
	if err != nil {
		f.putBack(report.Demand)
	}
	return err
}
