package api

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

// longestWait is how long getRun waits at most; the client asks again.
const longestWait = 30 * time.Second

type runInput struct {
	EnvironmentPath
	Body struct {
		Command        string                 `json:"command" minLength:"1" doc:"run by sh in the active release"`
		Process        springtide.ProcessName `json:"process,omitempty" doc:"whose limits and variables it gets; web if none is named"`
		TimeoutSeconds float64                `json:"timeout_seconds,omitempty" minimum:"0"`
	}
}

func (s *Server) startRun(ctx context.Context, in *runInput) (OneOff, error) {
	return s.platform.OneOffs.StartRun(ctx, OneOffRequest{
		Environment: in.id(), Command: in.Body.Command, Process: in.Body.Process,
		Timeout: time.Duration(in.Body.TimeoutSeconds * float64(time.Second)),
	})
}

type runPath struct {
	EnvironmentPath
	Run  string `path:"run"`
	Wait bool   `query:"wait" doc:"answer when it is over, or after 30 s"`
}

func (s *Server) getRun(ctx context.Context, in *runPath) (OneOff, error) {
	run, err := s.platform.OneOffs.Run(ctx, in.Run)
	if err == nil && run.Environment != in.id() {
		err = springtide.Errorf(springtide.NotFound, "%s has no run %s", in.id(), in.Run)
	}
	if err != nil || !in.Wait || run.Exit != nil {
		return run, err
	}
	serving, done := whileServing(ctx)
	defer done()
	limited, cancel := context.WithTimeout(serving, longestWait)
	defer cancel()
	return s.platform.OneOffs.WaitRun(limited, in.Run)
}
