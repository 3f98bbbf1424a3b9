package edge

import "time"

const (
	// budgetSeconds is over how long requests and their repetitions are counted.
	budgetSeconds = 10
	// budgetShare is that of requests that may be repeated: every fifth.
	budgetShare = 5
	// budgetReserve is how many may be in any case.
	budgetReserve = 20
)

// retryBudget bounds the work that repeating makes when much fails at the same
// time, after Finagle's RetryBudget: a share of the requests of the last seconds,
// and a few. What was never sent does not count: it makes nobody any work.
type retryBudget struct {
	second   int64
	requests [budgetSeconds]int32
	repeats  [budgetSeconds]int32
	// The sums of those.
	asked, repeated int32
}

// at gives the slot of the second.
func (b *retryBudget) at(now time.Time) int64 {
	second := now.Unix()
	if second < b.second || second-b.second > budgetSeconds { // also when the clock was set
		*b = retryBudget{second: second}
	}
	for b.second < second {
		b.second++
		slot := b.second % budgetSeconds
		b.asked -= b.requests[slot]
		b.repeated -= b.repeats[slot]
		b.requests[slot], b.repeats[slot] = 0, 0
	}
	return second % budgetSeconds
}

func (b *retryBudget) arrived(now time.Time) {
	b.requests[b.at(now)]++
	b.asked++
}

// room says that one request more may be repeated.
func (b *retryBudget) room(now time.Time) bool {
	b.at(now)
	return b.repeated < budgetReserve+b.asked/budgetShare
}

// take reports whether a request may be repeated, and counts it.
func (b *retryBudget) take(now time.Time) bool {
	if !b.room(now) {
		return false
	}
	b.repeats[b.at(now)]++
	b.repeated++
	return true
}
