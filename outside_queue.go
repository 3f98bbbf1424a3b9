package springtide

import "time"

// OutsideKind is the kind of a queue that the platform does not keep itself.
type OutsideKind string

// The kinds of outside queues.
const (
	OutsideRedis  OutsideKind = "redis"  // lists of Redis
	OutsideCelery OutsideKind = "celery" // queues of Celery in Redis
	OutsideSQS    OutsideKind = "sqs"    // Amazon SQS, or what speaks its JSON protocol
	OutsideHTTP   OutsideKind = "http"   // whatever tells a number over HTTP
)

// OutsideQueue is a queue that the platform does not keep itself. How many
// messages it has says how many instances of a process are needed.
type OutsideQueue struct {
	Kind OutsideKind `json:"kind"`
	// Names are the lists, or the queues of Celery.
	Names []string `json:"names,omitempty"`
	// URL is where it is: a URL, or the name of the variable of the app that has it.
	URL string `json:"url"`
	// Processing is the list of what workers took and have not done; empty: there is
	// none, and nobody knows how much is under way.
	Processing string `json:"processing,omitempty"`
	// Prefix comes before all keys of Celery.
	Prefix string `json:"prefix,omitempty"`
	// Region is that of SQS; empty: as the URL says, or the variable AWS_REGION.
	Region string `json:"region,omitempty"`
	// Value is where the number is in the answer, a JSON pointer (RFC 6901); empty:
	// the answer is the number.
	Value string `json:"value,omitempty"`
	// Token is the name of the variable whose value is sent as a bearer token; empty:
	// none is sent.
	Token string `json:"token,omitempty"`
	// Wait is how long a message should wait for its turn at most.
	Wait time.Duration `json:"wait"`
	// Every is how often it is looked at.
	Every time.Duration `json:"every"`
}

// String says which queue it is, without where it is.
func (q OutsideQueue) String() string {
	text := string(q.Kind) + " queue"
	if q.Kind == OutsideRedis {
		text = "redis list"
	}
	for i, name := range q.Names {
		if i > 0 {
			text += ","
		}
		text += " " + name
	}
	return text
}
