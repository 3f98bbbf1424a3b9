package cache

import (
	"slices"
	"time"
)

// mostVariants is how many specifications a resource is found by.
const mostVariants = 4

// publish has an entry found, unless its resource was invalidated since it was asked
// for. It settles the entry's number: a response without Vary has that of its
// resource, others are found by a signpost, which takes the place of what was there.
func (c *Cache) publish(e *entry, primary, invalidation uint64) bool {
	change := c.change(primary)
	change.mu.Lock()
	defer change.mu.Unlock()
	if change.invalidation.Load() != invalidation {
		return false
	}
	e.id = primary
	if e.specification != "" {
		at := c.find(primary)
		if at == nil || at.key != e.key || !slices.Contains(at.variants, e.specification) {
			r := record{key: e.key, epoch: randomNumber(), purged: c.purges.number.Load(), variants: []string{e.specification}}
			if at != nil && at.key == e.key && len(at.variants) > 0 {
				r.epoch = at.epoch
				r.variants = append(r.variants, at.variants[:min(len(at.variants), mostVariants-1)]...)
			}
			at = newEntry(primary, r)
			c.keep(at)
		}
		e.id = variantNumber(primary, at.epoch, e.specification, []byte(e.selecting))
	}
	if c.hasNewer(e) {
		return false
	}
	c.keep(e)
	return true
}

// hasNewer says that what is stored in an entry's place was asked for later: a slow fetch,
// or a validation that comes back late, must not bring back what another has replaced.
func (c *Cache) hasNewer(e *entry) bool {
	at := c.find(e.id)
	return at != nil && !at.isSignpost() && at.key == e.key && at.specification == e.specification && at.selecting == e.selecting &&
		at.requested > e.requested && at.requested <= time.Now().UnixNano() // the clock may have been set back
}
