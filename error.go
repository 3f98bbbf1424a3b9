package springtide

import (
	"errors"
	"fmt"
)

// ErrorKind classifies an error. The API has one HTTP status for each and the
// CLI one exit code.
type ErrorKind string

// The kinds of errors.
const (
	Invalid      ErrorKind = "invalid"      // what was asked makes no sense: 422, exit 2
	NotFound     ErrorKind = "not_found"    // 404, exit 3
	Conflict     ErrorKind = "conflict"     // something else is going on, or has changed: 409, exit 4
	Denied       ErrorKind = "denied"       // 403, exit 5
	Unauthorized ErrorKind = "unauthorized" // 401, exit 5
	Failed       ErrorKind = "failed"       // it was tried and did not succeed: 400, exit 1
	Unavailable  ErrorKind = "unavailable"  // try again later: 503, exit 6
	Internal     ErrorKind = "internal"     // a fault of the platform: 500, exit 70
)

// kinds is the one table from kind to HTTP status and exit code.
var kinds = map[ErrorKind]struct{ status, exit int }{
	Invalid:      {422, 2},
	NotFound:     {404, 3},
	Conflict:     {409, 4},
	Denied:       {403, 5},
	Unauthorized: {401, 5},
	Failed:       {400, 1},
	Unavailable:  {503, 6},
	Internal:     {500, 70},
}

// Status gives the HTTP status for the kind.
func (k ErrorKind) Status() int {
	if row, ok := kinds[k]; ok {
		return row.status
	}
	return 500
}

// ExitCode gives the CLI's exit code for the kind.
func (k ErrorKind) ExitCode() int {
	if row, ok := kinds[k]; ok {
		return row.exit
	}
	return 70
}

// Error is an error that a user can act on.
type Error struct {
	Kind ErrorKind `json:"kind"`
	// Message says what is wrong and where.
	Message string `json:"message"`
	// Hint says how to mend it. May be empty.
	Hint string `json:"hint,omitempty"`
	// Lines are the last lines of output that show the failure. May be empty.
	Lines []string `json:"lines,omitempty"`
	// Cause is what it was made from. May be nil.
	Cause error `json:"-"`
}

// Error gives the message, and the hint after it.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an error of a kind. A %w verb sets the cause.
func Errorf(kind ErrorKind, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: wrapped.Error(), Cause: errors.Unwrap(wrapped)}
}

// WithHint gives a copy of the error that says how to mend it.
func (e *Error) WithHint(format string, args ...any) *Error {
	with := *e
	with.Hint = fmt.Sprintf(format, args...)
	return &with
}

// KindOf gives the kind of an error, [Internal] if it has none, and nothing
// if there is no error.
func KindOf(err error) ErrorKind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
