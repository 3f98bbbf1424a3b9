package cert

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

const (
	ticketKeyLife  = 12 * time.Hour
	keepTicketKeys = 3
)

// TicketKeys encrypt TLS session tickets. A new one is used every 12 hours; the
// last three are accepted.
type TicketKeys struct {
	path   string
	logger *slog.Logger

	mutex sync.Mutex
	keys  []ticketKey // the newest first
}

type ticketKey struct {
	Created time.Time `json:"created"`
	// Key is of 32 bytes.
	Key []byte `json:"key"`
}

// OpenTicketKeys loads the keys from a file. Those in a damaged file are lost,
// which costs every client one full handshake.
func OpenTicketKeys(path string, logger *slog.Logger) (*TicketKeys, error) {
	t := &TicketKeys{path: path, logger: logger}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, springtide.Errorf(springtide.Unavailable, "ticket keys: %w", err)
	}
	if t.keys, err = parseTicketKeys(text); err != nil {
		logger.Warn("the file of ticket keys is damaged; making new ones", "path", path, "error", err)
	}
	return t, nil
}

func parseTicketKeys(text []byte) ([]ticketKey, error) {
	var keys []ticketKey
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, err
	}
	for _, key := range keys {
		if len(key.Key) != 32 {
			return nil, springtide.Errorf(springtide.Invalid, "a key of %d bytes, not 32", len(key.Key))
		}
	}
	return keys, nil
}

// Current gives the keys: the first is used to issue tickets, all to accept
// them. It makes a new one when it is time.
func (t *TicketKeys) Current(now time.Time) [][32]byte {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.due(now) {
		t.rotate(now)
	}
	current := make([][32]byte, len(t.keys))
	for i, key := range t.keys {
		current[i] = [32]byte(key.Key)
	}
	return current
}

// due reports whether the newest key is too old, or from a future that a clock
// was in by mistake.
func (t *TicketKeys) due(now time.Time) bool {
	if len(t.keys) == 0 {
		return true
	}
	age := now.Sub(t.keys[0].Created)
	return age >= ticketKeyLife || age < 0
}

func (t *TicketKeys) rotate(now time.Time) {
	fresh := ticketKey{Created: now.UTC(), Key: make([]byte, 32)}
	_, _ = rand.Read(fresh.Key) // never fails
	t.keys = slices.Insert(t.keys, 0, fresh)
	t.keys = slices.DeleteFunc(t.keys, func(key ticketKey) bool {
		return now.Sub(key.Created) >= keepTicketKeys*ticketKeyLife
	})
	t.keys = t.keys[:min(len(t.keys), keepTicketKeys)]
	text, err := json.Marshal(t.keys)
	if err == nil {
		err = durable.WriteFile(t.path, text, 0o600)
	}
	if err != nil {
		// The keys work all the same; only a restart of the control plane would
		// lose them.
		t.logger.Warn("the ticket keys cannot be kept", "path", t.path, "error", err)
	}
}
