package ledger

import (
	"context"
	"os"

	"github.com/springtide/springtide"
)

// Copy writes a copy of the whole ledger, as of one moment, to a file that takes
// the place of what is there. Nobody waits for it. Killed half-way it leaves a
// part; it is not synced. A ledger in PostgreSQL is Invalid: it is kept safe
// where it is.
func (l *Ledger) Copy(ctx context.Context, to string) error {
	if _, ok := l.reader.(*prepared); !ok {
		return springtide.Errorf(springtide.Invalid, "a ledger in PostgreSQL cannot be copied to a file").
			WithHint("back its server up")
	}
	path, err := one(l.view(ctx), errClosed, value[string], "SELECT file FROM pragma_database_list WHERE name = 'main'")
	if err != nil {
		return l.problem(ctx, err)
	}
	// SQLite fills an empty file, and leaves its mode as it is.
	if err := os.WriteFile(to, nil, 0o600); err != nil {
		return springtide.Errorf(springtide.Unavailable, "copy the ledger: %w", err)
	}
	// The readers may not even write elsewhere.
	own, err := connectSQLite(path, "deferred", readerCache, 1, "synchronous(NORMAL)")
	if err != nil {
		return err
	}
	defer own.Close()
	_, err = own.ExecContext(ctx, "VACUUM INTO ?", to)
	return l.problem(ctx, err)
}
