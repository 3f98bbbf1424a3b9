package ledger

import (
	"context"
	"crypto/rand"
)

// keySize is that of a ledger's key, in bytes.
const keySize = 32

// Key gives a random key of 32 bytes that all who use the ledger share: made
// by the first who asks, and never changed.
func (l *Ledger) Key(ctx context.Context) (key []byte, err error) {
	read := func(tx *transaction) error {
		key, err = one(tx, nil, value[[]byte], "SELECT secret FROM keys WHERE name = 'ledger'")
		return err
	}
	if err := read(l.view(ctx)); err != nil {
		return nil, l.problem(ctx, err)
	}
	if key != nil {
		return key, nil
	}
	made := make([]byte, keySize)
	_, _ = rand.Read(made) // it never fails
	err = l.write(ctx, func(tx *transaction) error {
		if _, err := tx.exec("INSERT INTO keys (name, secret) VALUES ('ledger', $1) ON CONFLICT DO NOTHING", made); err != nil {
			return err
		}
		return read(tx)
	})
	return key, err
}
