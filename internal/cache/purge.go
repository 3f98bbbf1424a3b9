package cache

import (
	"bufio"
	"bytes"
	"encoding/json"
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

// unwritten is how many purges a process may have had that it could not write down.
const unwritten = 1 << 20

// Purge says what is to be served no more unless it is fetched again. One of Tag, Path
// and Prefix may be set; none means all of the scope.
type Purge struct {
	// Scope is that of the [Rules]; empty: all.
	Scope string `json:"scope,omitempty"`
	// Tag is one that responses carry or were given.
	Tag string `json:"tag,omitempty"`
	// Path is a path, whatever its query.
	Path string `json:"path,omitempty"`
	// Prefix is what a path begins with.
	Prefix string `json:"prefix,omitempty"`
}

// Validate says what makes no sense.
func (p Purge) Validate() error {
	set := 0
	for _, text := range []string{p.Tag, p.Path, p.Prefix} {
		if text != "" {
			set++
		}
	}
	if set > 1 {
		return springtide.Errorf(springtide.Invalid, "a purge is of a tag, of a path, of a prefix, or of all").
			WithHint("purge them one after the other")
	}
	for _, path := range []string{p.Path, p.Prefix} {
		if path != "" && !strings.HasPrefix(path, "/") {
			return springtide.Errorf(springtide.Invalid, "%q is no path", path).WithHint("a path begins with a slash")
		}
	}
	return nil
}

// purges are numbered. An entry knows the number of the last purge before it was asked
// for, and is checked against those that came later when it is next found: a purge
// takes as long whether it is of one path or of a million.
type purges struct {
	// writing is held by whoever adds a purge, until it is on disk; mu is held only
	// while the maps change, so that no request waits for a disk.
	writing sync.Mutex
	mu      sync.RWMutex
	// latest has the number of the last purge of each kind, prefixes those of a prefix.
	latest   map[Purge]uint64
	prefixes []Purge
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
	Purge
}

// survives says whether an entry was asked for after the purges that are about it.
func (p *purges) survives(e *entry) bool {
	number := p.number.Load()
	if e.checked.Load() == number {
		return true
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	after := func(scope string, purge Purge) bool {
		purge.Scope = scope
		return p.latest[purge] > e.purged
	}
	if e.purged < p.floor {
		return false
	}
	path := e.key.path()
	for _, scope := range [...]string{"", e.key.scope} {
		if after(scope, Purge{}) || after(scope, Purge{Path: path}) ||
			slices.ContainsFunc(e.tags, func(tag string) bool { return after(scope, Purge{Tag: tag}) }) {
			return false
		}
	}
	for _, purge := range p.prefixes {
		if (purge.Scope == "" || purge.Scope == e.key.scope) && strings.HasPrefix(path, purge.Prefix) && p.latest[purge] > e.purged {
			return false
		}
	}
	e.checked.Store(number)
	return true
}

// Purge has nothing served any more that is stored now and that the purge is about,
// also not after a restart. It is in force when Purge returns without an error; with
// one it is in force as long as this process lives.
func (c *Cache) Purge(purge Purge) error {
	if err := purge.Validate(); err != nil {
		return err
	}
	p := &c.purges
	p.writing.Lock()
	defer p.writing.Unlock()
	l := line{Number: p.number.Load() + 1, Purge: purge}
	p.mu.Lock()
	p.take(l)
	p.number.Store(l.Number)
	p.mu.Unlock()
	if p.journal == nil {
		if c.disk != nil && !c.disk.released() {
			return springtide.Errorf(springtide.Unavailable, "the purge is in force, but would be forgotten by a restart: the cache's folder is not taken over yet").
				WithHint("try again in a moment")
		}
		return nil
	}
	if err := p.append(l); err != nil {
		return springtide.Errorf(springtide.Unavailable, "the purge is in force, but would be forgotten by a restart: %w", err).
			WithHint("make room on the disk and purge again")
	}
	return nil
}

// take puts a purge into force.
func (p *purges) take(l line) {
	switch {
	case l.Floor:
		p.floor = l.Number
		return
	case l.Mark:
		return
	}
	if _, known := p.latest[l.Purge]; !known && l.Prefix != "" {
		p.prefixes = append(p.prefixes, l.Purge)
	}
	p.latest[l.Purge] = l.Number
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
	p.prefixes = slices.DeleteFunc(p.prefixes, func(purge Purge) bool { return p.latest[purge] == 0 })
}

// append writes a purge down. A journal that has grown is written anew.
func (p *purges) append(l line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if p.lines++; p.lines > 2*mostPurges {
		return p.rewrite()
	}
	if _, err := p.journal.Write(append(text, '\n')); err != nil {
		return err
	}
	return p.journal.Sync()
}

// open reads the journal and puts what was purged here meanwhile after it.
func (p *purges) open(folder string) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.path = filepath.Join(folder, "purges")
	content, err := os.ReadFile(p.path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	p.mu.Lock()
	mine := p.latest
	p.latest, p.prefixes = map[Purge]uint64{}, nil
	// Numbers may have been used that could not be written down.
	number := max(p.read(content), p.number.Load()) + unwritten
	for purge := range mine {
		number++
		p.take(line{Number: number, Purge: purge})
	}
	p.number.Store(number)
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
		if err := encoder.Encode(line{Number: number, Purge: purge}); err != nil {
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
