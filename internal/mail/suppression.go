package mail

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// mostSuppressed is how many addresses an environment's list has: the oldest go
// first, and are put on it again by their next bounce.
const mostSuppressed = 10_000

// Suppression is an address that an environment sends nothing to.
type Suppression struct {
	Address string    `json:"address"`
	Reason  string    `json:"reason"`
	Time    time.Time `json:"time"`
}

// list is the suppression list of an environment: a file, read when it is first
// needed. What is in memory is in the file.
type list struct {
	path string

	mutex sync.Mutex
	// entries are never changed, but replaced; nil: not read yet.
	entries map[string]Suppression
}

// Suppressions gives the addresses that the environment sends nothing to, in
// order.
func (s *Sender) Suppressions(id springtide.EnvironmentID) ([]Suppression, error) {
	entries, err := s.suppressed(id)
	return inOrder(entries), err
}

func inOrder(entries map[string]Suppression) []Suppression {
	return slices.SortedFunc(maps.Values(entries), func(a, b Suppression) int { return strings.Compare(a.Address, b.Address) })
}

// Suppress puts an address on the environment's list. What is no address is
// Invalid. If it is on it already, nothing changes.
func (s *Sender) Suppress(id springtide.EnvironmentID, address, reason string) error {
	parsed, err := parseAddress(address)
	if err != nil {
		return err
	}
	key := sameAs(parsed.Address)
	return s.change(id, func(entries map[string]Suppression) bool {
		if _, ok := entries[key]; ok {
			return false
		}
		if len(entries) >= mostSuppressed {
			oldest := slices.MinFunc(slices.Collect(maps.Values(entries)), func(a, b Suppression) int { return a.Time.Compare(b.Time) })
			delete(entries, oldest.Address)
		}
		entries[key] = Suppression{key, reason, time.Now().UTC().Truncate(time.Second)}
		return true
	})
}

// Unsuppress takes an address off the environment's list. If it is not on it,
// that is NotFound.
func (s *Sender) Unsuppress(id springtide.EnvironmentID, address string) error {
	found := false
	err := s.change(id, func(entries map[string]Suppression) bool {
		_, found = entries[sameAs(address)]
		delete(entries, sameAs(address))
		return found
	})
	if err == nil && !found {
		return springtide.Errorf(springtide.NotFound, "%s is not on the suppression list of %s", address, id)
	}
	return err
}

// Forget deletes the environment's list.
func (s *Sender) Forget(id springtide.EnvironmentID) error {
	return s.change(id, func(entries map[string]Suppression) bool {
		clear(entries)
		return true
	})
}

// suppressed gives the list as it is now, by [sameAs]. It does not change.
func (s *Sender) suppressed(id springtide.EnvironmentID) (map[string]Suppression, error) {
	l, release := s.list(id)
	defer release()
	l.mutex.Lock()
	defer l.mutex.Unlock()
	err := l.readOnce(id)
	return l.entries, err
}

func (s *Sender) suppressBounced(id springtide.EnvironmentID, refused Refusal) {
	if err := s.Suppress(id, refused.Address, refused.Reason); err != nil {
		s.options.Logger.Error("an address that bounced could not be put on the suppression list", "environment", id, "address", refused.Address, "error", err)
	}
}

func (s *Sender) list(id springtide.EnvironmentID) (l *list, release func()) {
	return s.lists.Use(id, func() *list {
		return &list{path: filepath.Join(s.options.Folder, "suppressed", string(id.App), string(id.Name)+".json")}
	})
}

// change works on a copy of the list, which takes its place and is written if
// that reports a change.
func (s *Sender) change(id springtide.EnvironmentID, work func(map[string]Suppression) (changed bool)) error {
	l, release := s.list(id)
	defer release()
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if err := l.readOnce(id); err != nil {
		return err
	}
	next := maps.Clone(l.entries)
	if !work(next) {
		return nil
	}
	if err := l.write(next); err != nil {
		return springtide.Errorf(springtide.Unavailable, "the suppression list of %s cannot be written: %w", id, err)
	}
	l.entries = next
	return nil
}

func (l *list) readOnce(id springtide.EnvironmentID) error {
	if l.entries != nil {
		return nil
	}
	var all []Suppression
	content, err := os.ReadFile(l.path)
	if err == nil {
		err = json.Unmarshal(content, &all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return springtide.Errorf(springtide.Unavailable, "the suppression list of %s cannot be read: %w", id, err)
	}
	l.entries = make(map[string]Suppression, len(all))
	for _, one := range all {
		l.entries[one.Address] = one
	}
	return nil
}

func (l *list) write(entries map[string]Suppression) error {
	if len(entries) == 0 {
		if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	content, err := json.Marshal(inOrder(entries))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(l.path, content, 0o600)
}
