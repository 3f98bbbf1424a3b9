package cert

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// Domain is a host name that an environment is served by.
type Domain struct {
	Name        string // in lower case
	Environment springtide.EnvironmentID
}

// KeeperOptions configure a Keeper. All are needed, but for ACME.
type KeeperOptions struct {
	// Folder is where certificates are kept, keys sealed. It is made.
	Folder string
	Sealer Sealer
	ACME   ACME
	// Domains are those that certificates are wanted for.
	Domains func() []Domain
	// Settle makes a new routing table of what the Keeper has, and returns when every
	// live edge has it in force.
	Settle func(context.Context) error
	// Happened is told what somebody should know.
	Happened func(springtide.Event)
	Logger   *slog.Logger
}

// Keeper keeps the certificates of public names: those that an ACME server gives,
// and files of somebody's own. Whatever has no certificate here is served with one
// of the platform's own authority.
type Keeper struct {
	options KeeperOptions
	files   records
	solver  *solver
	issuer  issuer // nil: no authority is asked
	changed chan struct{}

	mu      sync.Mutex
	records map[string]*record // by name; a record is replaced, not changed
	busy    map[string]bool    // names with an attempt under way
	// failures counts failed attempts since the start, told is what was last told of
	// a name that is not as it should be.
	failures map[string]int
	told     map[string]string
}

// OpenKeeper loads what is kept. Nothing is obtained before [Keeper.Run] runs.
func OpenKeeper(o KeeperOptions) (*Keeper, error) {
	if err := o.ACME.Validate(); err != nil {
		return nil, err
	}
	o.ACME.Directory = cmp.Or(o.ACME.Directory, LetsEncrypt)
	k := &Keeper{
		options: o, files: records{folder: o.Folder, sealer: o.Sealer}, changed: make(chan struct{}, 1),
		busy: map[string]bool{}, failures: map[string]int{}, told: map[string]string{},
	}
	k.solver = &solver{settle: k.settle, answers: map[string]springtide.Challenge{}}
	var err error
	k.records, err = k.files.load(func(path string, err error) {
		o.Logger.Error("a certificate that is kept cannot be read", "path", path, "error", err)
	})
	if err == nil && o.ACME.Email != "" {
		k.issuer, err = newAuthority(o.ACME, filepath.Clean(o.Folder), o.Sealer, k.solver)
	}
	return k, err
}

// settleLimit is how long the edges may take to have a table in force.
const settleLimit = 30 * time.Second

// settle returns when every live edge serves what is here now.
func (k *Keeper) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	return k.options.Settle(ctx)
}

// Changed says that there may be other domains.
func (k *Keeper) Changed() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// Current gives what the routing table gets: the certificates of the domains there
// are, and answers to challenges.
func (k *Keeper) Current() ([]springtide.Certificate, []springtide.Challenge) {
	domains, now := k.options.Domains(), time.Now()
	slices.SortFunc(domains, func(a, b Domain) int { return strings.Compare(a.Name, b.Name) })
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []springtide.Certificate
	for _, domain := range domains {
		if r := k.records[domain.Name]; r != nil {
			if p := r.serves(now); p != nil {
				all = append(all, springtide.Certificate{Names: []string{domain.Name}, Chain: p.Chain, Key: p.key})
			}
		}
	}
	challenges := k.solver.current()
	slices.SortFunc(challenges, func(a, b springtide.Challenge) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Token, b.Token))
	})
	return all, challenges
}

// Source says where a certificate comes from.
type Source string

// The sources of certificates.
const (
	SourceACME Source = "acme" // an ACME server
	SourceFile Source = "file" // somebody's own file
	SourceOwn  Source = "own"  // the platform's own authority
)

// Status tells of the certificate that a domain is served with.
type Status struct {
	Domain
	Source Source
	// Issuer is who signed it, From and Until are its life; zero for those of the
	// platform's own authority, which takes care of them.
	Issuer      string
	From, Until time.Time
	// Renewal is when the next attempt to obtain one is made; zero: none is.
	Renewal time.Time
	// Failure is how the last attempt failed, at Failed; empty: it did not. Failures
	// counts those since the control plane was started.
	Failure  string
	Failed   time.Time
	Failures int
	// Trouble says in a sentence what somebody should see to; empty: all is well.
	Trouble string
}

// Statuses tells of all domains, in order of their names.
func (k *Keeper) Statuses() []Status {
	domains, now := k.options.Domains(), time.Now()
	slices.SortFunc(domains, func(a, b Domain) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Environment.String(), b.Environment.String()))
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]Status, 0, len(domains))
	for _, domain := range domains {
		all = append(all, k.status(domain, now))
	}
	return all
}

// status tells of a domain. k.mu is held.
func (k *Keeper) status(domain Domain, now time.Time) Status {
	s := Status{Domain: domain, Source: SourceOwn, Issuer: "the platform's own authority", Failures: k.failures[domain.Name]}
	r := cmp.Or(k.records[domain.Name], &record{Name: domain.Name})
	if p := r.serves(now); p != nil {
		s.Source, s.Issuer = SourceFile, cmp.Or(p.leaf.Issuer.CommonName, p.leaf.Issuer.String())
		s.From, s.Until = p.leaf.NotBefore, p.leaf.NotAfter
		if p == r.Obtained {
			s.Source = SourceACME
		}
	}
	if k.wanted(r, now) {
		s.Failure, s.Failed = r.Failure, r.Failed
		s.Renewal = r.due(now, k.options.ACME.Directory)
		if until := k.issuer.busyUntil(); s.Renewal.Before(until) {
			s.Renewal = until
		}
		if s.Renewal.Before(now) {
			s.Renewal = now
		}
	}
	s.Trouble = trouble(s, r, k.issuer != nil && k.options.ACME.Hook == "", now)
	return s
}

// wanted reports whether a certificate for the name is obtained and renewed.
func (k *Keeper) wanted(r *record, now time.Time) bool {
	return k.issuer != nil && Public(r.Name) && r.Own.runsOut(now) &&
		(k.options.ACME.Hook != "" || !strings.HasPrefix(r.Name, "*."))
}

const (
	// fileNotice is how long before a file of one's own runs out it is told.
	fileNotice = 21 * 24 * time.Hour
	// lateShare is what part of its life a certificate has left that should have
	// been renewed long ago.
	lateShare = 6
)

// trouble says what is wrong with the certificate of a name, if anything is.
func trouble(s Status, r *record, noWildcards bool, now time.Time) string {
	day := func(at time.Time) string { return at.UTC().Format(time.DateOnly) }
	switch {
	case s.Source != SourceOwn && !now.Before(s.Until):
		return fmt.Sprintf("it ran out on %s%s", day(s.Until), because(s))
	case s.Source == SourceFile && s.Until.Sub(now) < fileNotice:
		return fmt.Sprintf("the file runs out on %s: give another one with `tide certificates add`", day(s.Until))
	case s.Source == SourceACME && s.Failure != "" && s.Until.Sub(now) < s.Until.Sub(s.From)/lateShare:
		return fmt.Sprintf("it runs out on %s and could not be renewed%s", day(s.Until), because(s))
	case s.Source == SourceACME && r.Own != nil:
		return fmt.Sprintf("the file ran out on %s; one of the ACME server is served instead", day(r.Own.leaf.NotAfter))
	case s.Source == SourceOwn && s.Failure != "":
		return "none could be obtained" + because(s)
	case s.Source == SourceOwn && noWildcards && Public(s.Name) && strings.HasPrefix(s.Name, "*."):
		return "an ACME server gives one for a wildcard only by DNS: run `tide serve` with --acme-dns-hook, or name the hosts"
	}
	return ""
}

func because(s Status) string {
	if s.Failure == "" {
		return ""
	}
	return ": " + s.Failure
}

// shout tells of everything that is not as it should be, once; and again when it
// is another thing.
func (k *Keeper) shout() {
	for _, s := range k.Statuses() {
		k.mu.Lock()
		told := k.told[s.Name]
		k.told[s.Name] = s.Trouble
		k.mu.Unlock()
		if s.Trouble == told || s.Trouble == "" {
			continue
		}
		k.options.Logger.Error("a certificate is not as it should be", "name", s.Name, "trouble", s.Trouble)
		k.happened(s.Domain, "certificate.trouble", s.Trouble)
	}
}

func (k *Keeper) happened(domain Domain, kind, message string) {
	k.options.Happened(springtide.Event{
		Environment: domain.Environment, Kind: kind, Message: domain.Name + ": " + message, Fields: map[string]string{"name": domain.Name},
	})
}
