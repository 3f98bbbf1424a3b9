package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/springtide/springtide"
)

// Problem is the body of every answer that is an error.
type Problem struct {
	// Err says what is wrong.
	Err springtide.Error `json:"error"`
	// Next goes with a refused piece of output: the offset to go on from.
	Next *int64 `json:"next,omitempty" doc:"of output with a wrong offset: the one to go on from"`
	// status is set where HTTP itself has a better status than the kind's.
	status int
}

// problemOf gives the answer for an error. What is not a [springtide.Error] is
// a fault of the platform.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	e, ok := errors.AsType[*springtide.Error](err)
	if !ok {
		e = springtide.Errorf(springtide.Internal, "%w", err)
	}
	// The wrapping may say where it happened: keep what was added around it.
	told := *e
	if outer := err.Error(); outer != e.Error() && strings.Contains(outer, e.Error()) {
		told.Message = strings.Replace(outer, e.Error(), e.Message, 1)
	}
	return &Problem{Err: told}
}

// Error gives the message. With GetStatus it makes a Problem an error that huma
// answers as it is.
func (p *Problem) Error() string { return p.Err.Error() }

// GetStatus gives the HTTP status.
func (p *Problem) GetStatus() int {
	if p.status != 0 {
		return p.status
	}
	return p.Err.Kind.Status()
}

// writeError answers with an error outside of huma.
func writeError(w http.ResponseWriter, err error) {
	problem := problemOf(err)
	w.Header().Set("Content-Type", "application/json")
	if problem.Err.Kind == springtide.Unauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tide"`)
	}
	w.WriteHeader(problem.GetStatus())
	_ = json.NewEncoder(w).Encode(problem) // the client may be gone: nothing to be done
}

// describeRefusals turns what huma says of a malformed request into a Problem.
// The status stays huma's: 400, 408, 413, 415 or 422.
func describeRefusals(ctx huma.Context, _ string, body any) (any, error) {
	refusal, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	ctx.SetHeader("Content-Type", "application/json")
	kind := springtide.Invalid
	if refusal.Status >= http.StatusInternalServerError {
		kind = springtide.Internal
	}
	message := []string{refusal.Detail}
	for _, detail := range refusal.Errors {
		at := ""
		if detail.Location != "" {
			at = detail.Location + ": "
		}
		message = append(message, at+detail.Message)
	}
	problem := &Problem{Err: *springtide.Errorf(kind, "%s", strings.Join(message, "; "))}
	return problem, nil
}
