package edge

// fewInstances is up to how many instances all are looked at.
const fewInstances = 8

// balance chooses among the instances that may be used: the one with the least
// open if there are few, else the better of two taken at random. It gives nil
// if none may be used.
func balance(instances []*instance, random func(n int) int, usable func(*instance) bool) *instance {
	n := len(instances)
	if n == 0 {
		return nil
	}
	if n > fewInstances {
		first := random(n)
		second := random(n - 1)
		if second >= first {
			second++
		}
		if chosen := better(instances[first], instances[second], usable); chosen != nil {
			return chosen
		}
	}
	var chosen *instance
	start := random(n) // so that equals take turns
	for i := range instances {
		chosen = better(chosen, instances[(start+i)%n], usable)
	}
	return chosen
}

// better gives the one with less open that may be used; a is known to be
// usable or nil when b is looked at.
func better(a, b *instance, usable func(*instance) bool) *instance {
	if a != nil && !usable(a) {
		a = nil
	}
	if !usable(b) {
		return a
	}
	if a == nil || b.requests < a.requests || b.requests == a.requests && b.streams < a.streams {
		return b
	}
	return a
}
