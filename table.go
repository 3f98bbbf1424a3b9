package springtide

import (
	"fmt"
	"slices"
	"time"
)

// Table is the routing table: all that an edge needs to know. It is whole (it
// replaces the one before), versioned, and sent as one line of JSON. An edge that
// has got it is sent changes of it from then on, if it takes them.
type Table struct {
	// Version only grows, also over restarts of the control plane.
	Version int64   `json:"version"`
	Routes  []Route `json:"routes"`
	// Certificates are chosen by server name; the first is the default.
	Certificates []Certificate `json:"certificates,omitempty"`
	// TicketKeys encrypt TLS session tickets: the first is used to issue, all to
	// accept. They are shared by all edges and rotated.
	TicketKeys [][32]byte `json:"ticket_keys,omitempty"`
	// Purges are the last ones, in order of their numbers. PurgesSince is that of the
	// last before them: an edge that has not seen it forgets all that is as old.
	Purges      []Purge `json:"purges,omitempty"`
	PurgesSince int64   `json:"purges_since,omitempty"`
	// Challenges are answered for every host, also one that has no route.
	Challenges []Challenge `json:"challenges,omitempty"`
}

// TableChange is one line of JSON that an edge gets in place of a table: all of
// that, or what has changed of its routes.
type TableChange struct {
	Table
	// Since is the version of the table that is changed; 0: this is a whole one.
	Since int64 `json:"since,omitempty"`
	// Changed are routes by their places. There are as many routes as before, and all
	// else is as it was.
	Changed map[int]Route `json:"changed,omitempty"`
}

// After gives the table that the change makes of this one, which stays as it is.
func (t Table) After(by TableChange) (Table, error) {
	if by.Since == 0 {
		return by.Table, nil
	}
	if by.Since != t.Version {
		return Table{}, fmt.Errorf("a change of routing table %d came where there is table %d", by.Since, t.Version)
	}
	t.Version, t.Routes = by.Version, slices.Clone(t.Routes)
	for place, route := range by.Changed {
		if place < 0 || place >= len(t.Routes) {
			return Table{}, fmt.Errorf("a change of routing table %d has a route at %d, where there are %d", by.Since, place, len(t.Routes))
		}
		t.Routes[place] = route
	}
	return t, nil
}

// Challenge is an answer by which a certificate authority sees that whoever asks
// for a certificate has the host. It is either of HTTP-01 (RFC 8555 section 8.3)
// or of TLS-ALPN-01 (RFC 8737).
type Challenge struct {
	// Host is a lower-case name.
	Host string `json:"host"`
	// Answer is the text at /.well-known/acme-challenge/ and Token.
	Token  string `json:"token,omitempty"`
	Answer string `json:"answer,omitempty"`
	// Chain and Key are, in PEM, for clients that offer "acme-tls/1" and nothing else.
	Chain string `json:"chain,omitempty"`
	Key   string `json:"key,omitempty"`
}

// Certificate is a chain with its key, both in PEM, for some host names. A name
// may begin with "*.".
type Certificate struct {
	Names []string `json:"names"`
	Chain string   `json:"chain"`
	Key   string   `json:"key"`
}

// Route sends the requests for some hosts to the instances of one process.
type Route struct {
	// Hosts are lower-case names without port; "*.example.com" stands for one label.
	Hosts       []string      `json:"hosts"`
	Environment EnvironmentID `json:"environment"`
	// Group is the group that has the traffic: demand is accounted to it.
	Group    GroupID   `json:"group"`
	Backends []Backend `json:"backends"`
	// Concurrency is how many plain requests one instance is given at a time; 0: no limit.
	Concurrency int `json:"concurrency,omitempty"`
	// HoldFor is how long a request waits for an instance, HoldLimit how many may wait.
	HoldFor   time.Duration `json:"hold_for"`
	HoldLimit int           `json:"hold_limit"`
	// AnswerWithin is how long an instance may take to begin its answer; 0: for ever.
	AnswerWithin time.Duration `json:"answer_within,omitempty"`
	// TryWithin is how long one instance may take, where the request can go to
	// another one then; 0: as AnswerWithin says.
	TryWithin time.Duration `json:"try_within,omitempty"`
	// SlowStart is over how long a new instance's share of the requests grows to
	// that of the others; 0: it has it at once.
	SlowStart time.Duration `json:"slow_start,omitempty"`
	// Sticky has a client's requests go to one instance; nil: to any.
	Sticky *Sticky `json:"sticky,omitempty"`
	// SessionKey makes what names instances in cookies; it is the same for all
	// tables and edges. Empty: each edge has its own.
	SessionKey []byte `json:"session_key,omitempty"`
	// Drain is how long what is open on an instance may go on once it gets no new
	// requests. An edge that drains lets it go on as long, if that is longer than
	// its own limit.
	Drain time.Duration `json:"drain,omitempty"`
	// FinishStreams says that WebSockets and event streams count as requests.
	FinishStreams bool `json:"finish_streams,omitempty"`
	// Stopped says that nothing will come up by itself: answer 503 at once.
	Stopped bool `json:"stopped,omitempty"`
	// Protection holds for all its requests, and Maintenance if it is not nil.
	Protection  Protection   `json:"protection,omitzero"`
	Maintenance *Maintenance `json:"maintenance,omitempty"`
	// Cache are the rules of the cache for this route; none: nothing is cached.
	Cache []CacheRule `json:"cache,omitempty"`
	// Files are the shared folders of which files are served without asking an instance.
	Files []PublicFiles `json:"files,omitempty"`
}

// PublicFiles is a prefix of paths below which a shared folder's files are
// given to everybody. A request whose path is the prefix or goes on below it,
// whole segments compared and the longest prefix first, is sent to Address with
// the header FolderHeader, which no client can set.
type PublicFiles struct {
	// Prefix begins with a slash and does not end with one.
	Prefix string `json:"prefix"`
	// Folder is app/environment/name.
	Folder string `json:"folder"`
	// Address is the host and port of who serves it, by plain HTTP/1.1.
	Address string `json:"address"`
}

// FolderHeader is the header of a request by which the edge says of which
// shared folder a file is wanted.
const FolderHeader = "Tide-Files"

// Backend is one instance as the edge sees it.
type Backend struct {
	Instance InstanceID   `json:"instance"`
	Group    GroupID      `json:"group"`
	Address  string       `json:"address"`
	State    BackendState `json:"state"`
}

// BackendState says what an edge may do with an instance.
type BackendState string

// The states of a backend.
const (
	BackendReady    BackendState = "ready"    // give it requests
	BackendRetiring BackendState = "retiring" // no new request; let what is open go on
	BackendClosing  BackendState = "closing"  // end what is still open, politely
	// BackendLost is retiring as long as it can be reached: it may be gone without a
	// word, and then what is open on it is given up.
	BackendLost BackendState = "lost"
)

// EdgeReport is what an edge tells the control plane: at least every 100 ms
// while anything changes, at once when a request is held, and every 5 s when
// nothing happens. It is sent as one line of JSON.
type EdgeReport struct {
	// Edge names the edge process, uniquely for ever.
	Edge string `json:"edge"`
	// Sequence grows with every report of an edge, from 1 on: one that is told
	// twice, or after a later one, does not count. 0: it is not known.
	Sequence int64 `json:"sequence,omitempty"`
	// Acknowledged is the version of the table in force: every request that
	// arrives from now on is routed by it.
	Acknowledged int64 `json:"acknowledged"`
	// Changes says that the edge takes a [TableChange] where it could get a table.
	Changes bool `json:"changes,omitempty"`
	// Leaving says that the edge accepts no more connections and only drains.
	Leaving bool `json:"leaving,omitempty"`
	// Cache is what the edge's cache holds.
	Cache CacheSize `json:"cache,omitzero"`
	// Floods are those since the edge began.
	Floods FloodCounts `json:"floods,omitzero"`
	// Faults are the certificates of the table that it does not serve.
	Faults    []CertificateFault `json:"faults,omitempty"`
	Demand    []Demand           `json:"demand,omitempty"`
	Instances []InstanceLoad     `json:"instances,omitempty"`
}

// FloodCounts counts connections of clients that flood.
type FloodCounts struct {
	// Ended are those that were ended for a flood, Refused those that came later.
	Ended   int64 `json:"ended"`
	Refused int64 `json:"refused"`
}

// CertificateFault is a certificate that an edge does not serve, since it cannot be
// read, does not match its key or has run out. What it served before stays.
type CertificateFault struct {
	Names []string `json:"names"`
	Fault string   `json:"fault"`
}

// InstanceLoad is what one edge has open on one instance. An instance that is
// not in a report has nothing open and is not ejected.
type InstanceLoad struct {
	Instance InstanceID `json:"instance"`
	// Requests are plain requests (and streams, where they count as requests).
	Requests int `json:"requests"`
	// Streams are WebSockets and event streams that do not count as requests,
	// Lasting those that do.
	Streams int `json:"streams"`
	Lasting int `json:"lasting,omitempty"`
	// Ejected is until when the edge gives it nothing, since it failed while others
	// did not, and Failing how it failed last; zero: it is not ejected.
	Ejected time.Time `json:"ejected,omitzero"`
	Failing string    `json:"failing,omitempty"`
}

// Demand is what one edge saw of one group over an interval that ended when it
// was reported. Counts are of the interval; Held and Busy are of its end.
type Demand struct {
	Group GroupID `json:"group"`
	// Interval is how long it was.
	Interval time.Duration `json:"interval"`
	// Arrived counts requests that came in.
	Arrived int `json:"arrived"`
	// Completed counts requests that were answered by an instance, and Service is
	// the sum of the time their instances took (waiting in the edge excluded).
	Completed int           `json:"completed"`
	Service   time.Duration `json:"service"`
	// Held is how many wait for an instance now, Busy how many are being served now.
	Held int `json:"held"`
	Busy int `json:"busy"`
	// BusyTime is the integral of Busy over the interval.
	BusyTime time.Duration `json:"busy_time"`
	// Waited counts requests that were held at all, HeldTime is the sum of their waits.
	Waited   int           `json:"waited"`
	HeldTime time.Duration `json:"held_time"`
	// Refused counts answers the edge gave itself: 502, 503 and 504.
	Refused int `json:"refused"`
	// Failed counts 5xx answers of instances.
	Failed  int `json:"failed"`
	Retried int `json:"retried"`
	// Ejected counts how often an instance was ejected, since it failed while
	// others did not.
	Ejected int `json:"ejected,omitempty"`
	// Limited counts the requests that were refused with 429, by whose limit it was.
	Limited map[RatePer]int `json:"limited,omitempty"`
	// Streams is how many WebSockets and event streams are open now.
	Streams int `json:"streams"`
	// Latencies are from the last byte of the request's head to the first byte of the answer.
	Latencies Latencies `json:"latencies"`
	// BytesOut counts bytes of response bodies.
	BytesOut int64 `json:"bytes_out"`
	// Cache counts what the cache had to do with requests, those included that are
	// not among Arrived since no instance was asked.
	Cache map[CacheResult]int `json:"cache,omitempty"`
}
