package message

import "net/http"

// Error is a message that is refused, since it has no meaning or more than one.
type Error struct {
	// Status is what a client is told. What an instance sent is a 502 to the
	// client, whatever it says here.
	Status int
	Reason string
}

func (e *Error) Error() string { return e.Reason }

func bad(reason string) error { return &Error{http.StatusBadRequest, reason} }

func tooLarge(reason string) error {
	return &Error{http.StatusRequestHeaderFieldsTooLarge, reason}
}
