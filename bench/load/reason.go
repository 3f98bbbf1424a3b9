package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// Reason classifies why a request failed.
type Reason string

// The reasons. A wrong status has one of its own: "status 502".
const (
	NotConnected Reason = "not connected"       // no connection was made
	NoTLS        Reason = "TLS failed"          // the handshake failed
	Dropped      Reason = "dropped"             // the connection ended before an answer began
	TimedOut     Reason = "timed out"           // no whole answer in time
	Incomplete   Reason = "incomplete body"     // the answer broke off
	WrongLength  Reason = "wrong length"        // complete, but not as long as it has to be
	WrongDigest  Reason = "wrong digest"        // the body is not what its digest says
	NoDigest     Reason = "no digest"           // the digest is missing
	NoRequestID  Reason = "no request ID"       // X-Request-ID is missing
	Mixed        Reason = "somebody else's"     // the body belongs to another request or instance
	WrongVersion Reason = "wrong HTTP version"  // asked for over HTTP/2, answered over HTTP/1.1, or the reverse
	Other        Reason = "other"               // see the sample
	cancelled    Reason = "the run was stopped" // not a failure
)

// statusReason is the reason of a wrong status.
func statusReason(status int) Reason { return Reason(fmt.Sprintf("status %d", status)) }

// reasonBefore classifies an error that came instead of an answer.
func reasonBefore(err error) Reason {
	if isTimeout(err) {
		return TimedOut
	}
	if operation, ok := errors.AsType[*net.OpError](err); ok && operation.Op == "dial" {
		return NotConnected
	}
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	if certificate || record || alert {
		return NoTLS
	}
	return Dropped
}

// reasonWithin classifies an error that came in the middle of a body.
func reasonWithin(err error) Reason {
	if isTimeout(err) {
		return TimedOut
	}
	return Incomplete
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout()
}
