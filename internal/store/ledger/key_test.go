package ledger

import (
	"bytes"
	"sync"
	"testing"
)

func TestAllWhoShareALedgerHaveOneKey(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		others := []*Ledger{w.again(), w.again(), w.again()}
		keys := make([][]byte, len(others))
		var all sync.WaitGroup
		for i, other := range others {
			all.Go(func() {
				key, err := other.Key(t.Context())
				w.must(err)
				keys[i] = key
			})
		}
		all.Wait()
		again, err := w.Key(t.Context())
		w.must(err)
		for _, key := range keys {
			if len(key) != keySize || !bytes.Equal(key, again) {
				t.Errorf("one has the key %x, another %x", again, key)
			}
		}
	})
}
