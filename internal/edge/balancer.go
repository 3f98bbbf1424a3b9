package edge

import "time"

const (
	// fewInstances is up to how many instances all are looked at.
	fewInstances = 8
	// sweepInterval is how often the weights follow the time.
	sweepInterval = 100 * time.Millisecond
)

// balancer chooses among the ready instances of one process. Of few it takes the
// best, of many the better of two taken at random (M. Mitzenmacher, "The Power of
// Two Choices in Randomized Load Balancing", 2001). The better one is that with
// less open, each request weighted by how slow the instance has been of late, as
// Finagle's "peak EWMA" does it; but what is weighed is the mean of the logarithm,
// relative to all instances, and differences within a factor of two are chance.
// So instances that are equal share evenly, and one that a single slow request
// went to is not kept away from (see [pace]). Its gate's lock guards it.
type balancer struct {
	ready []*instance // those that may be given requests
	// usual is the pace of all answers.
	usual pace
	// slowStart is over how long a new instance's share grows to that of others.
	slowStart time.Duration
	swept     time.Time
	random    func(n int) int
}

// choose gives the best instance that may be used, nil if none may be.
func (b *balancer) choose(now time.Time, usable func(*instance) bool) *instance {
	n := len(b.ready)
	if n == 0 {
		return nil
	}
	if now.Sub(b.swept) >= sweepInterval {
		b.sweep(now)
	}
	if n > fewInstances {
		first := b.random(n)
		second := b.random(n - 1)
		if second >= first {
			second++
		}
		chosen := better(nil, b.ready[first], usable)
		if chosen = better(chosen, b.ready[second], usable); chosen != nil {
			return chosen
		}
	}
	var chosen *instance
	next := b.random(n) // so that equals take turns
	for range n {
		chosen = better(chosen, b.ready[next], usable)
		if next++; next == n {
			next = 0
		}
	}
	return chosen
}

// better gives the one with less to do that may be used; a may be, or is nil.
func better(a, b *instance, usable func(*instance) bool) *instance {
	if a != nil {
		ours, theirs := a.load(), b.load()
		if ours < theirs || ours == theirs && a.streams <= b.streams {
			return a
		}
	}
	if usable(b) {
		return b
	}
	return a
}

// load is what the instance would have to do with one request more.
func (i *instance) load() float64 { return float64(i.requests+1) * i.weight }

// learn takes the latency of an instance's answer.
func (b *balancer) learn(i *instance, latency time.Duration, now time.Time) {
	sample := paceOf(latency)
	b.usual.learn(sample, usualShare)
	if i.pace == 0 { // its first answer is one like the others, too
		i.pace = b.usual
	}
	i.pace.learn(sample, 1)
	i.answered = true
	b.weigh(i, now)
}

// sweep has the weights follow the time.
func (b *balancer) sweep(now time.Time) {
	for _, i := range b.ready {
		if !i.answered {
			i.pace.forget(b.usual)
		}
		i.answered = false
		b.weigh(i, now)
	}
	b.swept = now
}

func (b *balancer) weigh(i *instance, now time.Time) {
	i.weight = i.pace.weight(b.usual)
	if age := now.Sub(i.since); age < b.slowStart {
		i.weight /= max(lightest, float64(age)/float64(b.slowStart))
	}
}
