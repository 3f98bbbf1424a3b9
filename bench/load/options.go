package load

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options say what is driven, how hard, and what a good answer is.
type Options struct {
	// Target is where requests go: "https://quiz.localhost:8443".
	Target string
	// Dial is the address that is connected to, whatever Target's host is; empty:
	// the host itself.
	Dial string
	// CA are the authorities to trust; nil: those of the system.
	CA *x509.CertPool
	// Schedule says how many requests leave when.
	Schedule Schedule
	// Poisson makes arrivals independent of each other, as those of many people
	// are; otherwise they are evenly spaced. Seed makes it repeatable.
	Poisson bool
	Seed    uint64
	// Mix are the kinds of requests, drawn by their weights.
	Mix []Kind
	// Headers that name who answered; default "X-Instance" and "X-Release".
	InstanceHeader, ReleaseHeader string
	// RequestID says that every answer has to carry X-Request-ID.
	RequestID bool
	// Timeout is how long an answer may take; default 1 min.
	Timeout time.Duration
	// Open is how many requests may be open; more are skipped, which spoils the
	// run; default 20,000.
	Open int
	// Connections is how many HTTP/2 connections there are; default 4.
	Connections int
	// Interval is how finely the result is divided in time; default 1 s.
	Interval time.Duration
	// WebSockets and EventStreams are long-lived clients besides the requests.
	WebSockets, EventStreams Streams
	// Late is how long a good answer may take before it counts as late; 0: for ever.
	Late time.Duration
	// Progress is told how far it is, every second. May be nil.
	Progress func(Progress)
}

// Streams are a number of long-lived clients of one kind.
type Streams struct {
	Clients int
	// Path is where they connect; "{client}" in it becomes the client's number.
	Path string
	// Silence is how long nothing may be heard; default 10 s.
	Silence time.Duration
}

// Progress is how far a run has come.
type Progress struct {
	Elapsed                time.Duration
	Requests, Open, Failed int
	// Rate is requests per second since the last time, Latency is theirs.
	Rate    float64
	Latency Latency
}

// Connection says how a request reaches the server.
type Connection string

// The ways to connect.
const (
	KeepAlive   Connection = "keep-alive" // HTTP/1.1 over a connection that is used again
	Fresh       Connection = "fresh"      // HTTP/1.1 over a connection of its own
	Multiplexed Connection = "h2"         // HTTP/2
)

// Kind is one kind of request and what a good answer to it is.
type Kind struct {
	Name string
	// Weight is how often it is drawn, relative to the others; at least 1.
	Weight int
	// Method is GET by default. One that is not idempotent fails apart.
	Method string
	// Path is the path and query.
	Path string
	// Connection is KeepAlive by default.
	Connection Connection
	// Upload is how many bytes are sent. They differ each time, and the answer has
	// to contain their digest.
	Upload int
	// Status is 200 by default.
	Status int
	// Length is how many bytes the answer has; 0: any number.
	Length int64
	// Digest says that the answer has to carry its own digest (Repr-Digest).
	Digest bool
	// Token adds ?token= with a word of its own, which the answer has to contain.
	Token bool
	// Identity says that the answer has to name the instance its header names.
	Identity bool
}

// Validate says what is wrong with the options, after filling in the defaults.
func (o *Options) Validate() error {
	o.fill()
	target, err := url.Parse(o.Target)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if target.Scheme != "http" && target.Scheme != "https" || target.Host == "" {
		return fmt.Errorf("target %q: want http:// or https:// and a host", o.Target)
	}
	if len(o.Mix) == 0 && o.Schedule.Requests() > 0 {
		return errors.New("no kind of request in the mix")
	}
	for _, stage := range o.Schedule {
		if stage.From < 0 || stage.To < 0 || stage.For <= 0 {
			return fmt.Errorf("stage %+v: want rates of 0 or more and a duration above 0", stage)
		}
	}
	for _, kind := range o.Mix {
		if err := kind.validate(); err != nil {
			return fmt.Errorf("kind %q: %w", kind.Name, err)
		}
	}
	return nil
}

func (k Kind) validate() error {
	switch k.Connection {
	case KeepAlive, Fresh, Multiplexed:
	default:
		return fmt.Errorf("connection %q: want keep-alive, fresh or h2", k.Connection)
	}
	if !strings.HasPrefix(k.Path, "/") {
		return fmt.Errorf("path %q: want it to begin with /", k.Path)
	}
	if _, err := url.Parse(k.Path); err != nil {
		return err
	}
	if k.Weight < 1 {
		return fmt.Errorf("weight %d: want 1 or more", k.Weight)
	}
	return nil
}

func (o *Options) fill() {
	o.Timeout = or(o.Timeout, time.Minute)
	o.Open = or(o.Open, 20_000)
	o.Connections = or(o.Connections, 4)
	o.Interval = or(o.Interval, time.Second)
	o.InstanceHeader = http.CanonicalHeaderKey(or(o.InstanceHeader, "X-Instance"))
	o.ReleaseHeader = http.CanonicalHeaderKey(or(o.ReleaseHeader, "X-Release"))
	o.WebSockets.Silence = or(o.WebSockets.Silence, 10*time.Second)
	o.EventStreams.Silence = or(o.EventStreams.Silence, 10*time.Second)
	filled := make([]Kind, len(o.Mix))
	for i, kind := range o.Mix {
		kind.Method = or(kind.Method, http.MethodGet)
		kind.Connection = or(kind.Connection, KeepAlive)
		kind.Status = or(kind.Status, http.StatusOK)
		filled[i] = kind
	}
	o.Mix = filled
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
