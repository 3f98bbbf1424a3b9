package edge

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// rateLimit is a [springtide.RateLimit] as it is kept to. A token comes back after
// each interval, and burst is how long all of them take but one.
type rateLimit struct {
	of              string // sets its buckets apart from those of others
	path            string
	below           bool // what goes on behind the path matches too
	per             springtide.RatePer
	header          string
	interval, burst time.Duration
}

// longestBurst is 73 years: what is longer cannot be counted.
const longestBurst = time.Duration(1 << 61)

func newRateLimit(of string, l springtide.RateLimit) rateLimit {
	path, below := strings.CutSuffix(l.Match, "*")
	interval := max(l.Within/time.Duration(l.Requests), 1)
	burst := longestBurst
	if others := time.Duration(l.Burst - 1); others < longestBurst/interval {
		burst = interval * others
	}
	return rateLimit{
		of: strings.Join([]string{of, l.Match, string(l.Per), l.Header, l.Within.String(), interval.String()}, " "), path: path, below: below,
		per: l.Per, header: l.Header, interval: interval, burst: burst,
	}
}

// matches says whether a path that has been made plain is meant.
func (l *rateLimit) matches(path string) bool {
	if l.below {
		return strings.HasPrefix(path, l.path) || path == strings.TrimSuffix(l.path, "/")
	}
	return path == l.path || path == l.path+"/"
}

// bucket is whose tokens a request takes.
type bucket struct {
	of     string
	client netip.Addr
	token  string
}

func (l *rateLimit) bucket(x *exchange) bucket {
	b := bucket{of: l.of}
	if l.per == springtide.RatePerToken {
		b.token = credentialsOf(x.request.Fields, l.header)
	}
	if b.token == "" && l.per != springtide.RatePerRoute {
		b.client = clientOf(addressOf(x))
	}
	return b
}

// credentialsOf gives what a request shows in a header; of Authorization the
// credentials, however their scheme is written.
func credentialsOf(fields message.Fields, header string) string {
	token := fields.Get(header)
	if strings.EqualFold(header, "Authorization") {
		_, token, _ = strings.Cut(token, " ")
	}
	return strings.TrimSpace(token)
}

// clientOf gives what counts as one client: an IPv4 address, or the /64 that one
// of IPv6 is from, which is the least that a household gets.
func clientOf(address netip.Addr) netip.Addr {
	if prefix, err := address.Prefix(64); err == nil && address.Is6() {
		return prefix.Addr()
	}
	return address
}

// The size of the table of buckets: 2^18 of them, 4 MiB, however many ask.
const (
	rateShards = 64
	rateSets   = 512 // of a shard
	rateWays   = 8   // buckets of a set
)

// rateTable has the buckets of all limits. It is of a fixed size, where a limiter
// of its own for each client (golang.org/x/time/rate has 80 bytes, and a map more)
// would have an attacker with a million addresses decide on the edge's memory: a
// bucket is the hash of whose it is and the time at which it is full again, and
// lives in one of eight places. If these are taken, the one that is full again
// first is forgotten, so whoever asks much stays known. A shard has no memory
// before it is used.
type rateTable struct {
	seed   maphash.Seed
	began  time.Time
	shards [rateShards]rateShard
}

type rateShard struct {
	mu   sync.Mutex
	sets *[rateSets][rateWays]rateBucket
}

type rateBucket struct {
	hash uint64
	full time.Duration // since the table began
}

func newRateTable() *rateTable { return &rateTable{seed: maphash.MakeSeed(), began: time.Now()} }

// take takes a token of a bucket. If there is none it gives the time until there
// is one.
func (t *rateTable) take(b bucket, l *rateLimit, at time.Time) time.Duration {
	hash, now := maphash.Comparable(t.seed, b), max(at.Sub(t.began), 1)
	shard := &t.shards[hash%rateShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	place := shard.place(hash)
	full := now
	if place.hash == hash {
		full = max(now, place.full)
	}
	if wait := full - now - l.burst; wait > 0 {
		return wait
	}
	*place = rateBucket{hash, full + l.interval}
	return 0
}

// owe takes so much of a bucket, whatever is in it, as long as it is full again after
// longest; it gives the time until it is.
func (t *rateTable) owe(b bucket, debt, longest time.Duration, at time.Time) time.Duration {
	hash, now := maphash.Comparable(t.seed, b), max(at.Sub(t.began), 1)
	shard := &t.shards[hash%rateShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.sets == nil && debt == 0 {
		return 0
	}
	place, owed := shard.place(hash), time.Duration(0)
	if place.hash == hash {
		owed = max(place.full-now, 0)
	}
	if debt > 0 {
		owed = min(owed+debt, longest)
		*place = rateBucket{hash, now + owed}
	}
	return owed
}

// place gives where a bucket is, or else is to be.
func (s *rateShard) place(hash uint64) *rateBucket {
	if s.sets == nil {
		s.sets = new([rateSets][rateWays]rateBucket)
	}
	set := &s.sets[hash/rateShards%rateSets]
	place := &set[0]
	for i := range set {
		if set[i].hash == hash {
			return &set[i]
		}
		if set[i].full < place.full {
			place = &set[i]
		}
	}
	return place
}
