package cert

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

// Add has domains served with a certificate of somebody's own: a chain and its
// key, in PEM. What is not valid for all of them is refused, and what was served
// before stays. It returns when every edge serves it.
func (k *Keeper) Add(ctx context.Context, domains []Domain, chain, key []byte) error {
	now := time.Now()
	names := make([]string, len(domains))
	for i, domain := range domains {
		names[i] = domain.Name
	}
	leaf, err := check(names, chain, key, now)
	if err != nil {
		return err
	}
	for _, domain := range domains {
		own, err := k.files.newPair(domain.Name, "", chain, key, now)
		if err != nil {
			return err
		}
		if err := k.change(domain.Name, func(r *record) { r.Own = own }); err != nil {
			return err
		}
		k.happened(domain, "certificate.added", "a file until "+leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	k.Changed()
	return k.settle(ctx)
}

// Remove forgets a certificate of somebody's own. It returns when no edge serves
// it any more.
func (k *Keeper) Remove(ctx context.Context, domain Domain) error {
	k.mu.Lock()
	own := k.record(domain.Name).Own
	k.mu.Unlock()
	if own == nil {
		return springtide.Errorf(springtide.NotFound, "%s has no certificate of its own", domain.Name).WithHint("`tide certificates ls` shows what there is")
	}
	if err := k.change(domain.Name, func(r *record) { r.Own = nil }); err != nil {
		return err
	}
	k.happened(domain, "certificate.removed", "the file was removed")
	k.Changed()
	return k.settle(ctx)
}
