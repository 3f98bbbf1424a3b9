package tables

import (
	"context"
	"sync"
)

// tableVersionBlock is how many versions are reserved by one write: a table must
// not wait for the disk each time.
const tableVersionBlock = 1000

// tableVersions are those reserved in the database and not given yet.
type tableVersions struct {
	sync.Mutex
	last, reserved int64
}

// NextTableVersion implements store.Store.
func (s *Store) NextTableVersion(ctx context.Context) (int64, error) {
	s.versions.Lock()
	defer s.versions.Unlock()
	if s.versions.last == s.versions.reserved {
		var reserved int64
		err := s.db.Write(ctx, func(tx Transaction) error {
			return tx.QueryRowContext(ctx, `UPDATE table_versions SET reserved = reserved + ? RETURNING reserved`, tableVersionBlock).
				Scan(&reserved)
		})
		if err != nil {
			return 0, err
		}
		s.versions.reserved, s.versions.last = reserved, reserved-tableVersionBlock
	}
	s.versions.last++
	return s.versions.last, nil
}
