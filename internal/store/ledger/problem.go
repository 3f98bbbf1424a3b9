package ledger

import (
	"context"
	"errors"

	"github.com/springtide/springtide"
)

var (
	errNoClock = errors.New("the clock is missing")
	// errUnknownQueue says that an environment or a queue is not there yet.
	errUnknownQueue = springtide.Errorf(springtide.NotFound, "the queue is not known")
	errCollision    = errors.New("two runs were given one number")
	errClosed       = springtide.Errorf(springtide.Unavailable, "ledger: it is closed").WithHint("the server is stopping; ask the next one")
)

// problem says what an error means to a user. Errors that already say so, and
// those of the context, stay as they are; meaning knows the database's.
func problem(ctx context.Context, err error, meaning func(error) error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*springtide.Error](err); ok {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if meant := meaning(err); meant != nil {
		return meant
	}
	return springtide.Errorf(springtide.Internal, "ledger: %w", err)
}
