package cert

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

const (
	// lookEvery is how often everything is looked at, whatever is due.
	lookEvery = time.Hour
	// askEvery is how often an authority is asked for its suggestion, unless it says.
	askEvery = 6 * time.Hour
	// attemptLimit is how long an attempt may take.
	attemptLimit = 10 * time.Minute
	// together is how many attempts are made at the same time.
	together = 4
)

// Run obtains and renews certificates until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	var attempts sync.WaitGroup
	defer attempts.Wait()
	for {
		next := k.look(ctx, &attempts)
		k.shout()
		select {
		case <-ctx.Done():
			return nil
		case <-k.changed:
		case <-time.After(min(time.Until(next), lookEvery)):
		}
	}
}

// look begins the attempts that are due and gives when the next one is.
func (k *Keeper) look(ctx context.Context, attempts *sync.WaitGroup) time.Time {
	domains, now := k.options.Domains(), time.Now()
	k.forget(domains, now)
	next := now.Add(lookEvery)
	for _, domain := range domains {
		k.mu.Lock()
		r := k.record(domain.Name)
		wanted := k.wanted(r, now) && !k.busy[domain.Name]
		full := len(k.busy) >= together
		k.mu.Unlock()
		if !wanted || full { // the end of an attempt has everything looked at again
			continue
		}
		due := r.due(now, k.options.ACME.Directory)
		busy := k.issuer.busyUntil()
		if due.Before(busy) {
			due = busy
		}
		ask := r.Obtained != nil && !now.Before(r.Obtained.Ask) && !now.Before(busy)
		switch {
		case !due.After(now):
			if k.begin(domain.Name) {
				attempts.Go(func() { _ = k.attempt(ctx, domain) }) // it is told of
			}
		case ask:
			if k.begin(domain.Name) {
				attempts.Go(func() { k.ask(ctx, domain.Name) })
			}
		case due.Before(next):
			next = due
		}
	}
	return next
}

// forget removes what is of names that no app has any more, and worth nothing.
func (k *Keeper) forget(domains []Domain, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, r := range k.records {
		served := slices.ContainsFunc(domains, func(d Domain) bool { return d.Name == name })
		if served || k.busy[name] || !r.Own.runsOut(now) || !r.Obtained.runsOut(now) || now.Sub(r.Tried) < longestPause {
			continue
		}
		if err := os.Remove(k.files.path(name)); err == nil || errors.Is(err, fs.ErrNotExist) {
			delete(k.records, name)
			delete(k.failures, name)
			delete(k.told, name)
		}
	}
}

// record gives what is known of a name. k.mu is held; the record is not changed.
func (k *Keeper) record(name string) *record {
	if r := k.records[name]; r != nil {
		return r
	}
	return &record{Name: name}
}

// begin says that an attempt for the name is under way; false: one is already.
func (k *Keeper) begin(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy[name] {
		return false
	}
	k.busy[name] = true
	return true
}

func (k *Keeper) end(name string) {
	k.mu.Lock()
	delete(k.busy, name)
	k.mu.Unlock()
	k.Changed()
}

// change replaces the record of a name, on disk first.
func (k *Keeper) change(name string, change func(*record)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := *k.record(name)
	change(&r)
	if err := k.files.write(&r); err != nil {
		return err
	}
	k.records[name] = &r
	return nil
}

// attempt obtains a certificate. That it was begun is on disk before the authority
// hears of it: a control plane that is killed again and again does not ask again
// and again. The caller has begun it.
func (k *Keeper) attempt(ctx context.Context, domain Domain) error {
	defer k.end(domain.Name)
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	var before *pair
	err := k.change(domain.Name, func(r *record) {
		before, r.Tried = r.Obtained, time.Now().UTC()
		r.Attempts++
		r.Next = r.Tried.Add(pauseAfter(r.Attempts, interruptedPause, rand.Float64()))
	})
	if err != nil {
		return k.failed(domain, err)
	}
	var replaced *x509.Certificate
	if before != nil && before.Directory == k.options.ACME.Directory {
		replaced = before.leaf
	}
	chain, key, err := k.issuer.issue(ctx, domain.Name, replaced)
	if err != nil && context.Cause(ctx) == context.Canceled { //nolint:errorlint // the platform ends: nothing failed
		return err
	}
	if err == nil {
		err = k.obtained(domain, chain, key)
	}
	if err != nil {
		err = k.failed(domain, err)
	}
	return cmp.Or(err, k.settle(ctx)) // the challenges go, too
}

// obtained keeps what was obtained, if it is worth anything.
func (k *Keeper) obtained(domain Domain, chain, key []byte) error {
	now := time.Now()
	made, err := k.files.newPair(domain.Name, k.options.ACME.Directory, chain, key, now)
	if err != nil {
		return err
	}
	renew := renewAt(made.leaf.NotBefore, made.leaf.NotAfter, rand.Float64())
	made.Ask = now.Add(askEvery).UTC()
	err = k.change(domain.Name, func(r *record) {
		r.Obtained, r.Attempts, r.Next, r.Failure, r.Failed = made, 0, renew.UTC(), "", time.Time{}
	})
	if err == nil {
		k.options.Logger.Info("a certificate was obtained", "name", domain.Name, "until", made.leaf.NotAfter, "renewal", renew)
		k.happened(domain, "certificate.obtained", "a certificate until "+made.leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	return err
}

// failed records a failure. What is served stays.
func (k *Keeper) failed(domain Domain, cause error) error {
	now := time.Now().UTC()
	k.mu.Lock()
	k.failures[domain.Name]++
	k.mu.Unlock()
	var next time.Time
	err := k.change(domain.Name, func(r *record) {
		r.Failure, r.Failed = cause.Error(), now
		r.Next = now.Add(pauseAfter(max(r.Attempts, 1), firstPause, rand.Float64()))
		next = r.Next
	})
	if err != nil { // a full disk: it is not forgotten while we run
		k.mu.Lock()
		r := *k.record(domain.Name)
		r.Attempts = max(r.Attempts, 1)
		r.Failure, r.Failed, r.Next = err.Error(), now, now.Add(firstPause)
		next = r.Next
		k.records[domain.Name] = &r
		k.mu.Unlock()
	}
	k.options.Logger.Error("a certificate could not be obtained", "name", domain.Name, "again", next, "error", cause)
	k.happened(domain, "certificate.failed", cause.Error())
	return cause
}

// ask asks the authority whether a certificate should be renewed early. That it
// has no answer changes nothing.
func (k *Keeper) ask(ctx context.Context, name string) {
	defer k.end(name)
	k.mu.Lock()
	p := k.record(name).Obtained
	k.mu.Unlock()
	if p == nil {
		return
	}
	at, again, err := k.issuer.suggest(ctx, p.leaf)
	if err != nil {
		k.options.Logger.Warn("the ACME server did not say when to renew a certificate", "name", name, "error", err)
	}
	now := time.Now()
	if earliest := now.Add(askEvery / 6); again.Before(earliest) {
		again = now.Add(askEvery)
	}
	asked := *p
	asked.Ask = again.UTC()
	err = k.change(name, func(r *record) {
		if r.Obtained == p {
			r.Obtained = &asked
			if r.Attempts == 0 {
				r.Next = sooner(r.Next, at, p.Added).UTC()
			}
		}
	})
	if err != nil {
		k.options.Logger.Warn("what the ACME server said cannot be kept", "name", name, "error", err)
	}
}

// Renew obtains the certificate of a domain now, and gives the reason if that
// fails. What is served stays until there is another one.
func (k *Keeper) Renew(ctx context.Context, domain Domain) error {
	now := time.Now()
	k.mu.Lock()
	wanted := k.wanted(k.record(domain.Name), now)
	k.mu.Unlock()
	switch {
	case k.issuer == nil:
		return springtide.Errorf(springtide.Conflict, "no ACME server is asked for certificates").
			WithHint("run `tide serve` with --acme-email you@example.com, or give a file with `tide certificates add`")
	case !wanted:
		return springtide.Errorf(springtide.Conflict, "no certificate is obtained for %s", domain.Name).
			WithHint("it is not a public name, has a file of its own, or is a wildcard without --acme-dns-hook; see `tide certificates ls`")
	case k.issuer.busyUntil().After(now):
		return springtide.Errorf(springtide.Unavailable, "the ACME server wants to be left alone until %s", k.issuer.busyUntil().UTC().Format(time.DateTime))
	case !k.begin(domain.Name):
		return springtide.Errorf(springtide.Conflict, "an attempt for %s is under way", domain.Name).WithHint("see `tide certificates ls`")
	}
	return k.attempt(ctx, domain)
}
