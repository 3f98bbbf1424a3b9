package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// identity is who asks for runs: an instance, or an operator.
func identity(ctx context.Context, id springtide.EnvironmentID) jobs.Identity {
	if who := callerOf(ctx).instance; who != nil {
		return *who
	}
	return jobs.Identity{Environment: id}
}

func (s *Server) lease(ctx context.Context, id springtide.EnvironmentID, request jobs.LeaseRequest) (jobs.LeaseAnswer, error) {
	if request.Most == 0 {
		request.Most = 1
	}
	switch {
	case !saneRunner(request.Runner):
		return jobs.LeaseAnswer{}, errRunner()
	case request.Most < 0 || request.Most > mostRuns:
		return jobs.LeaseAnswer{}, springtide.Errorf(springtide.Invalid, "most is %d, not 1 to %d", request.Most, mostRuns)
	case request.WaitSeconds < 0 || request.WaitSeconds > longestWait.Seconds():
		return jobs.LeaseAnswer{}, springtide.Errorf(springtide.Invalid, "wait_seconds is %v, not 0 to %v", request.WaitSeconds, longestWait.Seconds())
	}
	serving, done := whileServing(ctx)
	defer done()
	answer, err := s.platform.Leases.Lease(serving, identity(ctx, id), request)
	answer.Runs = emptyNotNull(answer.Runs)
	return answer, unlessEnding(serving, err)
}

// unlessEnding tells who waited that the server ended, and not he.
func unlessEnding(serving context.Context, err error) error {
	if err != nil && serving.Err() != nil {
		return springtide.Errorf(springtide.Unavailable, "the server is ending: %w", err)
	}
	return err
}

// mostRuns is how many runs one request may be about.
const mostRuns = 1000

func countRuns(count, least int) error {
	if count < least || count > mostRuns {
		return springtide.Errorf(springtide.Invalid, "runs has %d elements, not %d to %d", count, least, mostRuns)
	}
	return nil
}

func saneRunner(name string) bool { return name != "" && len(name) <= 100 }

func errRunner() error {
	return springtide.Errorf(springtide.Invalid, "runner is the name of who asks, of 1 to 100 bytes")
}

func (s *Server) startRuns(ctx context.Context, id springtide.EnvironmentID, request jobs.StartRequest) (jobs.AcceptedAnswer, error) {
	if err := countRuns(len(request.Runs), 1); err != nil {
		return jobs.AcceptedAnswer{}, err
	}
	accepted, err := s.platform.Leases.Start(ctx, identity(ctx, id), request.Runs)
	return jobs.AcceptedAnswer{Accepted: accepted}, err
}

func (s *Server) heartbeat(ctx context.Context, id springtide.EnvironmentID, request jobs.BeatRequest) (jobs.BeatAnswer, error) {
	if !saneRunner(request.Runner) {
		return jobs.BeatAnswer{}, errRunner()
	}
	if err := countRuns(len(request.Runs), 0); err != nil {
		return jobs.BeatAnswer{}, err
	}
	answer, err := s.platform.Leases.Heartbeat(ctx, identity(ctx, id), request)
	answer.Runs = emptyNotNull(answer.Runs)
	return answer, err
}

func (s *Server) complete(ctx context.Context, id springtide.EnvironmentID, request jobs.CompleteRequest) (jobs.AcceptedAnswer, error) {
	if err := countRuns(len(request.Runs), 1); err != nil {
		return jobs.AcceptedAnswer{}, err
	}
	for i, run := range request.Runs {
		var err *springtide.Error
		switch {
		case run.Verdict != jobs.Succeeded && run.Verdict != jobs.Failed && run.Verdict != jobs.Returned:
			err = springtide.Errorf(springtide.Invalid, "runs[%d].verdict is %q, not succeeded, failed or returned", i, run.Verdict)
		case len(run.Result) > springtide.ResultLimit:
			err = springtide.Errorf(springtide.Invalid, "runs[%d].result has %d KiB, the limit is %d KiB", i, len(run.Result)>>10, springtide.ResultLimit>>10)
		case run.RetryAfterSeconds < 0:
			err = springtide.Errorf(springtide.Invalid, "runs[%d].retry_after_seconds is negative", i)
		}
		if err != nil {
			return jobs.AcceptedAnswer{}, err
		}
	}
	return s.platform.Leases.Complete(ctx, identity(ctx, id), request)
}

// OutputAnswer tells where output goes on, in bytes.
type OutputAnswer struct {
	Next int64 `json:"next"`
}

// appendOutput takes output as it is.
func (s *Server) appendOutput(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	fence, errFence := strconv.ParseInt(query.Get("fence"), 10, 64)
	offset, errOffset := strconv.ParseInt(query.Get("offset"), 10, 64)
	if errFence != nil || errOffset != nil || offset < 0 || query.Get("run") == "" {
		writeError(w, springtide.Errorf(springtide.Invalid, "output needs its run, fence and offset: ?run=ID&fence=NUMBER&offset=BYTES"))
		return
	}
	hold := jobs.Hold{Run: springtide.RunID(query.Get("run")), Fence: springtide.Fence(fence)}
	body := http.MaxBytesReader(w, r.Body, largeBody)
	next, err := s.platform.Leases.AppendOutput(r.Context(), identity(r.Context(), pathID(r)), hold, offset, body)
	if err != nil {
		problem := problemOf(tooLarge(err))
		if wrong, ok := errors.AsType[*jobs.OffsetError](err); ok {
			problem.Next = &wrong.Next
		}
		writeError(w, problem)
		return
	}
	writeJSON(w, http.StatusOK, OutputAnswer{Next: next})
}
