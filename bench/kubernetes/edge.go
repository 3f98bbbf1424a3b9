package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/socket"
)

// reportEvery is how often an edge reports while anything changes.
const reportEvery = 100 * time.Millisecond

// edge takes tables and acknowledges them as an edge does, and says, if it is told
// to, that all apps have requests.
type edge struct {
	path string
	busy atomic.Bool
	// controlEnded is closed when there is no control plane any more.
	controlEnded <-chan struct{}

	mu      sync.Mutex
	table   springtide.Table
	bytes   int // of a whole table, as it came
	tables  int // how many came
	changed chan struct{}
}

func newEdge(path string, controlEnded <-chan struct{}) *edge {
	return &edge{path: path, controlEnded: controlEnded, changed: make(chan struct{})}
}

// run connects again and again until ctx ends.
func (e *edge) run(ctx context.Context) {
	for ctx.Err() == nil {
		if conn, err := socket.Dial(ctx, e.path); err == nil {
			e.speak(ctx, conn)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// speak uses one connection until it breaks or ctx ends.
func (e *edge) speak(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var telling sync.WaitGroup
	defer telling.Wait()
	defer cancel()
	telling.Go(func() { e.report(ctx, conn) })
	var table springtide.Table
	for lines := bufio.NewReaderSize(conn, 1<<20); ; {
		line, err := lines.ReadBytes('\n')
		var change springtide.TableChange
		if err != nil || json.Unmarshal(line, &change) != nil {
			return
		}
		if table, err = table.After(change); err != nil {
			return
		}
		e.mu.Lock()
		if e.table = table; change.Since == 0 {
			e.bytes = len(line)
		}
		e.tables++
		close(e.changed)
		e.changed = make(chan struct{})
		e.mu.Unlock()
	}
}

// report says what table is in force: at once, and what is asked of apps meanwhile.
func (e *edge) report(ctx context.Context, conn net.Conn) {
	lines, tick := json.NewEncoder(conn), time.NewTicker(reportEvery)
	defer tick.Stop()
	told := int64(-1)
	for sequence := int64(1); ctx.Err() == nil; {
		e.mu.Lock()
		table, changed := e.table, e.changed
		e.mu.Unlock()
		report := springtide.EdgeReport{Edge: "edge", Sequence: sequence, Acknowledged: table.Version, Changes: true}
		if e.busy.Load() {
			report.Demand, report.Instances = demand(table)
		}
		if table.Version != told || report.Demand != nil {
			if lines.Encode(report) != nil {
				return
			}
			told = table.Version
			sequence++
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-tick.C:
		}
	}
}

// demand is that of apps which have 100 requests a second of 50 ms each.
func demand(table springtide.Table) (all []springtide.Demand, loads []springtide.InstanceLoad) {
	for _, route := range table.Routes {
		all = append(all, springtide.Demand{
			Group: route.Group, Interval: reportEvery, Arrived: 10, Completed: 10, Service: 500 * time.Millisecond, Busy: 5, BusyTime: 5 * reportEvery,
		})
		for _, backend := range route.Backends[:min(len(route.Backends), 5)] {
			loads = append(loads, springtide.InstanceLoad{Instance: backend.Instance, Requests: 1})
		}
	}
	return all, loads
}

// route gives that of an app.
func route(table springtide.Table, app springtide.AppName) (found springtide.Route) {
	at, has := slices.BinarySearchFunc(table.Routes, app, func(r springtide.Route, app springtide.AppName) int {
		return strings.Compare(string(r.Environment.App), string(app))
	})
	if has {
		found = table.Routes[at]
	}
	return found
}

// ready counts the instances that get requests.
func ready(r springtide.Route) (count int) {
	for _, backend := range r.Backends {
		if backend.State == springtide.BackendReady {
			count++
		}
	}
	return count
}

// await waits until the table satisfies a condition.
func (e *edge) await(ctx context.Context, what string, condition func(springtide.Table) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		e.mu.Lock()
		table, changed := e.table, e.changed
		e.mu.Unlock()
		if condition(table) {
			return nil
		}
		select {
		case <-changed:
		case <-e.controlEnded:
			return errControlEnded
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
}
