package sqlite

import (
	"context"
	"os"

	"github.com/springtide/springtide"
)

// Copy writes a copy of the whole database, as of one moment, to a file that
// takes the place of what is there. Nobody waits for it. Killed half-way it
// leaves a part; it is not synced.
func (s *Store) Copy(ctx context.Context, to string) error {
	// SQLite fills an empty file, and leaves its mode as it is.
	if err := os.WriteFile(to, nil, 0o600); err != nil {
		return springtide.Errorf(springtide.Unavailable, "copy the store: %w", err)
	}
	// The readers may not even write elsewhere.
	own, err := notes().connect(s.path)
	if err != nil {
		return err
	}
	defer own.Close()
	_, err = own.ExecContext(ctx, "VACUUM INTO ?", to)
	return s.problem(ctx, err)
}
