package process

import (
	"bufio"
	"container/heap"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// followEvery is how often a follower looks for new lines.
const followEvery = 100 * time.Millisecond

// Logs implements engine.Engine.
func (e *Engine) Logs(ctx context.Context, query springtide.LogQuery) (io.ReadCloser, error) {
	if query.Task != "" {
		if !isName(query.Task) {
			return nil, springtide.Errorf(springtide.Invalid, "%q is not the name of a task", query.Task)
		}
		if _, err := os.Stat(filepath.Join(e.options.Data, "tasks", query.Task)); err != nil && !query.Follow {
			return nil, springtide.Errorf(springtide.NotFound, "there is no task %s", query.Task)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	read, write := io.Pipe()
	go func() {
		<-ctx.Done()
		write.CloseWithError(io.EOF)
	}()
	go func() {
		defer cancel()
		f := &follower{engine: e, query: query, sources: map[string]*source{}, out: bufio.NewWriterSize(write, 32<<10)}
		defer f.close()
		if err := f.run(ctx); err != nil && ctx.Err() == nil {
			write.CloseWithError(err)
		}
	}()
	return &logReader{read, cancel}, nil
}

// logReader ends the follower when it is closed.
type logReader struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (r *logReader) Close() error {
	r.cancel()
	return r.PipeReader.Close()
}

// follower writes the lines that a query selects.
type follower struct {
	engine  *Engine
	query   springtide.LogQuery
	sources map[string]*source
	out     *bufio.Writer
}

func (f *follower) close() {
	for _, s := range f.sources {
		s.close()
	}
}

func (f *follower) run(ctx context.Context) error {
	if err := f.history(ctx); err != nil {
		return err
	}
	if err := f.out.Flush(); err != nil || !f.query.Follow {
		return err
	}
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		var lines []entry
		for _, s := range f.find() {
			f.sources[s.path] = s
		}
		for _, s := range f.sources {
			if s.over {
				continue
			}
			// Whether the instance is gone is asked before its last lines are read. That
			// there is no log says nothing: it may not be there yet.
			gone := f.engine.isGone(s.owner.Instance)
			s.more(func(e entry) { lines = append(lines, e) })
			if gone {
				s.over = true
				s.close()
			}
		}
		slices.SortStableFunc(lines, func(a, b entry) int { return int(min(max(a.nanoseconds-b.nanoseconds, -1), 1)) })
		for _, line := range lines {
			if err := f.write(line); err != nil {
				return err
			}
		}
		if err := f.out.Flush(); err != nil {
			return err
		}
	}
}

func (f *follower) write(e entry) error {
	data, err := json.Marshal(e.line())
	if err != nil {
		return err
	}
	_, err = f.out.Write(append(data, '\n'))
	return err
}

// isGone reports whether nothing more will be written by an instance.
func (e *Engine) isGone(id springtide.InstanceID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.instances[id] == nil && e.tasks[string(id)] == nil
}

// find lists the logs that the query selects and that are not known yet.
func (f *follower) find() []*source {
	q := f.query
	if q.Task != "" {
		path := filepath.Join(f.engine.options.Data, "tasks", q.Task, "output.log")
		if _, err := os.Stat(path); err != nil || f.sources[path] != nil {
			return nil
		}
		return []*source{{path: path, owner: sidecar{Instance: springtide.InstanceID(q.Task)}}}
	}
	parts := []string{string(q.Environment.App), string(q.Environment.Name), string(q.Process), string(q.Instance)}
	for i, part := range parts {
		if part == "" {
			parts[i] = "*"
		} else if !isName(part) {
			return nil
		}
	}
	parts[3] += ".json"
	sidecars, _ := filepath.Glob(filepath.Join(append([]string{globEscape(f.engine.options.Data), "logs"}, parts...)...))
	var found []*source
	for _, path := range sidecars {
		s := &source{path: strings.TrimSuffix(path, ".json") + ".log"}
		if f.sources[s.path] == nil && readJSON(path, &s.owner) == nil {
			found = append(found, s)
		}
	}
	return found
}

func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// history writes what is kept, in order of time.
func (f *follower) history(ctx context.Context) error {
	var streams merge
	var closers []func()
	defer func() {
		for _, done := range closers {
			done()
		}
	}()
	for _, s := range f.find() {
		reader, done, err := s.begin(f.query.Since)
		if err != nil {
			return err
		}
		closers = append(closers, done)
		f.sources[s.path] = s
		stream := newStream(reader, &s.owner, f.query.Since)
		closers = append(closers, stream.stop)
		if stream.next() {
			streams = append(streams, stream)
		}
	}
	heap.Init(&streams)
	var last []entry // A ring of Tail lines.
	oldest := 0
	for len(streams) > 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		first := streams[0]
		switch line := first.entry; {
		case f.query.Tail <= 0:
			if err := f.write(line); err != nil {
				return err
			}
		case len(last) < f.query.Tail:
			last = append(last, line)
		default:
			last[oldest] = line
			oldest = (oldest + 1) % len(last)
		}
		if first.next() {
			heap.Fix(&streams, 0)
		} else {
			heap.Pop(&streams)
		}
	}
	for i := range last {
		if err := f.write(last[(oldest+i)%len(last)]); err != nil {
			return err
		}
	}
	return nil
}
