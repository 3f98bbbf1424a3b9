package api

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/springtide/springtide"
)

// largestBody is how much of a request is read at most: the source of a deploy.
// Bodies of JSON are limited to 1 MiB by huma.
const largestBody = 2 << 30

// RequestIDHeader names a request in both directions and in the log.
const RequestIDHeader = "X-Request-ID"

// chain puts middleware around a handler, the first outermost.
func chain(handler http.Handler, around ...func(http.Handler) http.Handler) http.Handler {
	for _, wrap := range slices.Backward(around) {
		handler = wrap(handler)
	}
	return handler
}

// nameRequests gives every request an ID: the client's if it is sane.
func nameRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(RequestIDHeader)
		if !saneID(id) {
			id = rand.Text()
			r.Header.Set(RequestIDHeader, id)
		}
		w.Header().Set(RequestIDHeader, id)
		next.ServeHTTP(w, r)
	})
}

func saneID(id string) bool {
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return id != "" && len(id) <= 128
}

// logAccess writes a line for each request, at debug level.
func logAccess(logger *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			started := time.Now()
			recorder := &statusRecorder{ResponseWriter: w}
			defer func() {
				logger.DebugContext(r.Context(), "api request", "request", r.Header.Get(RequestIDHeader),
					"method", r.Method, "path", r.URL.Path, "status", recorder.status, "seconds", time.Since(started).Seconds())
			}()
			next.ServeHTTP(recorder, r)
		})
	}
}

// recoverPanics answers 500 where a handler panicked, if it has not answered.
func recoverPanics(logger *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			recorder := &statusRecorder{ResponseWriter: w}
			defer func() {
				fault := recover()
				if fault == nil {
					return
				}
				if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(fault)
				}
				logger.ErrorContext(r.Context(), "api handler panicked", "request", r.Header.Get(RequestIDHeader),
					"path", r.URL.Path, "fault", fault, "stack", string(debug.Stack()))
				if recorder.status != 0 {
					panic(http.ErrAbortHandler) // half an answer must not look whole
				}
				writeError(w, springtide.Errorf(springtide.Internal, "the server failed on this request").
					WithHint("its log has request %s", r.Header.Get(RequestIDHeader)))
			}()
			next.ServeHTTP(recorder, r)
		})
	}
}

// limitBodies ends reading where a body exceeds what any request may have.
func limitBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != importPath { // which has the artifacts of many apps
			r.Body = http.MaxBytesReader(w, r.Body, largestBody)
		}
		next.ServeHTTP(w, r)
	})
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader remembers the status.
func (r *statusRecorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write is a 200 if no other status was written.
func (r *statusRecorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] find what the connection can do.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
