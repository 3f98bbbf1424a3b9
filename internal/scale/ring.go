package scale

import "time"

// ring holds the demand of the last seconds. Second s is at s modulo its
// length; what is newer than newest has not begun.
type ring struct {
	seconds []Second
	newest  int64
}

// grow makes room for n whole seconds and the one that goes on.
func (r *ring) grow(n int) {
	n++
	if n <= len(r.seconds) {
		return
	}
	old := *r
	r.seconds = make([]Second, n)
	if len(old.seconds) == 0 {
		return
	}
	for s := max(old.newest-int64(len(old.seconds))+1, 0); s <= old.newest; s++ {
		*r.at(s) = *old.at(s)
	}
}

func (r *ring) at(second int64) *Second { return &r.seconds[second%int64(len(r.seconds))] }

// advance empties the seconds up to the given one that had not begun.
func (r *ring) advance(second int64) {
	if second-r.newest >= int64(len(r.seconds)) {
		clear(r.seconds)
		r.newest = second
	}
	for r.newest < second {
		r.newest++
		*r.at(r.newest) = Second{}
	}
}

// spread adds what happened evenly in an interval that ends now; now counts
// from second 0. What is older than the ring is dropped. The sums are of the
// interval: requests, and seconds of them and of cores.
func (r *ring) spread(now, interval time.Duration, sum Second) {
	last := int64(now / time.Second)
	r.advance(last)
	interval = max(interval, time.Microsecond)
	begin := now - interval
	oldest := max(r.newest-int64(len(r.seconds))+1, 0)
	for s := max(int64(begin/time.Second), oldest); s <= last; s++ {
		from := max(begin, time.Duration(s)*time.Second)
		to := min(now, time.Duration(s+1)*time.Second)
		share := float32(max(to-from, 0).Seconds() / interval.Seconds())
		r.at(s).Arrived += sum.Arrived * share
		r.at(s).Busy += sum.Busy * share
		r.at(s).Cores += sum.Cores * share
	}
}

// until appends the whole seconds before the given one, the oldest first, and
// gives that one itself.
func (r *ring) until(second int64, seconds []Second) ([]Second, Second) {
	r.advance(second)
	for s := max(r.newest-int64(len(r.seconds))+1, 0); s < r.newest; s++ {
		seconds = append(seconds, *r.at(s))
	}
	return seconds, *r.at(r.newest)
}
