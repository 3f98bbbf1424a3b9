package api

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/springtide/springtide"
)

func (s *Server) instances(ctx context.Context, in *EnvironmentPath) ([]springtide.Instance, error) {
	return s.platform.Observer.Instances(ctx, in.id())
}

type decisionsInput struct {
	EnvironmentPath
	Limit int `query:"limit" default:"20" minimum:"1" maximum:"500"`
}

func (s *Server) decisions(ctx context.Context, in *decisionsInput) ([]springtide.Decision, error) {
	return s.platform.Observer.Decisions(ctx, in.id(), in.Limit)
}

type eventsInput struct {
	App         springtide.AppName         `query:"app" doc:"only of this app's environment"`
	Environment springtide.EnvironmentName `query:"environment" doc:"of the app; production if only the app is named"`
	Deploy      DeployID                   `query:"deploy" doc:"only of this deploy"`
	After       int64                      `query:"after" default:"-1" minimum:"-1" doc:"begin behind this sequence number; 0: with the oldest that is kept; -1: only those to come"`
	LastEventID string                     `header:"Last-Event-ID" doc:"as after, sent by clients that reconnect"`
}

func (s *Server) events(_ context.Context, in *eventsInput) (func(huma.Context), error) {
	query := EventQuery{
		Environment: springtide.EnvironmentID{App: in.App, Name: in.Environment},
		Deploy:      in.Deploy,
		After:       in.After,
	}
	if in.App != "" && in.Environment == "" {
		query.Environment.Name = springtide.Production
	}
	if in.LastEventID != "" {
		last, err := strconv.ParseInt(in.LastEventID, 10, 64)
		if err != nil {
			return nil, springtide.Errorf(springtide.Invalid, "Last-Event-ID: %q is not a number", in.LastEventID)
		}
		query.After = last
	}
	return func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		serving, done := whileServing(r.Context())
		defer done()
		writeEvents(serving, w, "event", s.platform.Observer.Events(serving, query),
			func(e springtide.Event) int64 { return e.Sequence })
	}, nil
}

func (s *Server) live(ctx context.Context, in *EnvironmentPath) (func(huma.Context), error) {
	if _, err := s.platform.Environments.Environment(ctx, in.id()); err != nil {
		return nil, err
	}
	return func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		serving, done := whileServing(r.Context())
		defer done()
		writeEvents(serving, w, "figures", s.platform.Observer.Live(serving, in.id()), nil)
	}, nil
}

type logsInput struct {
	EnvironmentPath
	Process  springtide.ProcessName `query:"process"`
	Instance springtide.InstanceID  `query:"instance"`
	Run      string                 `query:"run" doc:"the output of a one-off command"`
	Since    time.Time              `query:"since"`
	Tail     int                    `query:"tail" minimum:"0" doc:"how many of the last lines to begin with; 0: all that is kept"`
	Follow   bool                   `query:"follow"`
}

func (s *Server) logs(ctx context.Context, in *logsInput) (func(huma.Context), error) {
	if _, err := s.platform.Environments.Environment(ctx, in.id()); err != nil {
		return nil, err
	}
	serving, done := whileServing(ctx)
	output, err := s.platform.Observer.Logs(serving, springtide.LogQuery{
		Environment: in.id(), Process: in.Process, Instance: in.Instance, Task: in.Run,
		Since: in.Since, Tail: in.Tail, Follow: in.Follow,
	})
	if err != nil {
		done()
		return nil, err
	}
	return func(ctx huma.Context) {
		defer done()
		defer output.Close()
		stop := context.AfterFunc(serving, func() { output.Close() }) // ends a read that waits
		defer stop()
		_, w := humago.Unwrap(ctx)
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.WriteHeader(http.StatusOK)
		copyLines(w, output)
	}, nil
}

// copyLines passes on what is read at once. An error of either side ends it: the
// client sees that the answer stops.
func copyLines(w http.ResponseWriter, lines io.Reader) {
	flusher := http.NewResponseController(w)
	flusher.Flush()
	buffer := make([]byte, 32<<10)
	for {
		n, err := lines.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return
			}
			flusher.Flush()
		}
		if err != nil {
			return
		}
	}
}
