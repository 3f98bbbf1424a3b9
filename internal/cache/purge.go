package cache

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// mostPurges is how many purges are remembered. Beyond, the older half becomes one of
// everything that is as old: that is more than was asked for, never less.
const mostPurges = 8192

// purge says what is to be served no more unless it is fetched again. One of tag,
// path and prefix is set; none means all of the scope.
type purge struct {
	// Scope is that of the [Rules]; empty: all.
	Scope  string `json:"scope,omitempty"`
	Tag    string `json:"tag,omitempty"`
	Path   string `json:"path,omitempty"`
	Prefix string `json:"prefix,omitempty"`
}

// purgeOf takes a purge as the control plane gives it.
func purgeOf(given springtide.Purge) purge {
	p := purge{Tag: given.Tag, Path: given.Path}
	if given.Environment != (springtide.EnvironmentID{}) {
		p.Scope = given.Environment.String()
	}
	if prefix, is := strings.CutSuffix(p.Path, "*"); is {
		p.Path, p.Prefix = "", prefix
	}
	return p
}

// purges are numbered by who gives them, the same for all edges. An entry knows the number of the last purge before it was asked
// for, and is checked against those that came later when it is next found: a purge
// takes as long whether it is of one path or of a million.
type purges struct {
	// writing is held by whoever adds a purge, until it is on disk; mu is held only
	// while the maps change, so that no request waits for a disk.
	writing sync.Mutex
	mu      sync.RWMutex
	// latest has the number of the last purge of each kind, prefixes those of a prefix.
	latest   map[purge]uint64
	prefixes []purge
	// floor is a number before which everything is purged.
	floor  uint64
	number atomic.Uint64
	// journal is nil while the disk tier is not this process's.
	journal *os.File
	path    string
	lines   int
}

// line is one line of the journal.
type line struct {
	Number uint64 `json:"number"`
	// Floor says that all is purged that is older; Mark, only that the number is taken.
	Floor bool `json:"floor,omitempty"`
	Mark  bool `json:"mark,omitempty"`
	purge
}

// survives says whether an entry was asked for after the purges that are about it.
func (p *purges) survives(e *entry) bool {
	number := p.number.Load()
	if e.checked.Load() == number {
		return true
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	after := func(scope string, purge purge) bool {
		purge.Scope = scope
		return p.latest[purge] > e.purged
	}
	if e.purged < p.floor {
		return false
	}
	path := e.key.path()
	plain, err := url.PathUnescape(path) // however the client wrote it
	if err != nil {
		plain = path
	}
	for _, scope := range [...]string{"", e.key.scope} {
		if after(scope, purge{}) || after(scope, purge{Path: path}) || after(scope, purge{Path: plain}) ||
			slices.ContainsFunc(e.tags, func(tag string) bool { return after(scope, purge{Tag: tag}) }) {
			return false
		}
	}
	for _, purge := range p.prefixes {
		if (purge.Scope == "" || purge.Scope == e.key.scope) && (strings.HasPrefix(path, purge.Prefix) || strings.HasPrefix(plain, purge.Prefix)) && p.latest[purge] > e.purged {
			return false
		}
	}
	e.checked.Store(number)
	return true
}

// Purge has nothing served any more that was asked for before one of the purges that
// is about it, also not after a restart. Those that are known already make no
// difference. Up to the number since there may have been others, which are not in the
// list: if they are not known either, all that is as old is purged. With an error it is
// in force as long as this process lives.
func (c *Cache) Purge(since int64, list []springtide.Purge) error {
	p := &c.purges
	p.writing.Lock()
	defer p.writing.Unlock()
	known := p.number.Load()
	var lines []line
	if uint64(since) > known {
		lines = append(lines, line{Number: uint64(since), Floor: true})
	}
	for _, given := range list {
		if uint64(given.Number) > known {
			lines = append(lines, line{Number: uint64(given.Number), purge: purgeOf(given)})
		}
	}
	if len(lines) == 0 {
		return nil
	}
	p.mu.Lock()
	for _, l := range lines {
		p.take(l)
		known = max(known, l.Number)
	}
	p.number.Store(known)
	p.mu.Unlock()
	if p.journal == nil {
		return nil // Run writes down what there is when it takes the folder over
	}
	if err := p.append(lines); err != nil {
		return springtide.Errorf(springtide.Unavailable, "the purge is in force, but is not written down: %w", err)
	}
	return nil
}

// take puts a purge into force.
func (p *purges) take(l line) {
	switch {
	case l.Floor:
		p.floor = max(p.floor, l.Number)
		return
	case l.Mark:
		return
	}
	if _, known := p.latest[l.purge]; !known && l.Prefix != "" {
		p.prefixes = append(p.prefixes, l.purge)
	}
	p.latest[l.purge] = max(p.latest[l.purge], l.Number)
	if len(p.latest) > mostPurges {
		p.condense()
	}
}

// condense forgets the older half of the purges for one of all that is as old.
func (p *purges) condense() {
	var numbers []uint64
	for _, number := range p.latest {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	p.floor = max(p.floor, numbers[len(numbers)/2])
	for purge, number := range p.latest {
		if number <= p.floor {
			delete(p.latest, purge)
		}
	}
	p.prefixes = slices.DeleteFunc(p.prefixes, func(purge purge) bool { return p.latest[purge] == 0 })
}

// append writes purges down. A journal that has grown is written anew.
func (p *purges) append(lines []line) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	for _, l := range lines {
		if err := encoder.Encode(l); err != nil {
			return err
		}
	}
	if p.lines += len(lines); p.lines > 2*mostPurges {
		return p.rewrite()
	}
	if _, err := p.journal.Write(text.Bytes()); err != nil {
		return err
	}
	return p.journal.Sync()
}

// open reads the journal, and adds what is in force here.
func (p *purges) open(folder string) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.path = filepath.Join(folder, "purges")
	content, err := os.ReadFile(p.path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	p.mu.Lock()
	mine, floor := p.latest, p.floor
	p.latest, p.prefixes, p.floor = map[purge]uint64{}, nil, 0
	number := p.read(content)
	if floor > number { // the one who wrote it did not know what happened until then
		p.floor = floor
	}
	for purge, at := range mine {
		p.take(line{Number: at, purge: purge})
	}
	p.number.Store(max(number, p.number.Load()))
	p.mu.Unlock()
	return p.rewrite()
}

// read takes the lines of a journal, and gives the highest number. A last line that
// was cut off was never acknowledged.
func (p *purges) read(journal []byte) (number uint64) {
	for lines := bufio.NewScanner(bytes.NewReader(journal)); lines.Scan(); {
		var l line
		if json.Unmarshal(lines.Bytes(), &l) == nil {
			p.take(l)
			number = max(number, l.Number)
		}
	}
	return number
}

// rewrite replaces the journal by the purges in force.
func (p *purges) rewrite() error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	for _, l := range [...]line{{Number: p.number.Load(), Mark: true}, {Number: p.floor, Floor: true}} {
		if err := encoder.Encode(l); err != nil {
			return err
		}
	}
	for purge, number := range p.latest {
		if err := encoder.Encode(line{Number: number, purge: purge}); err != nil {
			return err
		}
	}
	if err := durable.WriteFile(p.path, text.Bytes(), 0o600); err != nil {
		return err
	}
	journal, err := os.OpenFile(p.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if p.journal != nil {
		p.journal.Close()
	}
	p.journal, p.lines = journal, len(p.latest)
	return nil
}

// close gives the journal up.
func (p *purges) close() {
	p.writing.Lock()
	defer p.writing.Unlock()
	if p.journal != nil {
		p.journal.Close()
		p.journal = nil
	}
}
