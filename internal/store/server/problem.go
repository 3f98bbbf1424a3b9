package server

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/springtide/springtide"
)

// Tries is how often a transaction is begun that others are in the way of.
const Tries = 10

// Again begins again what ended with an error after which it may be.
func Again(ctx context.Context, may func(error) bool, once func() error) error {
	for try := 1; ; try++ {
		err := once()
		if err == nil || try == Tries || ctx.Err() != nil || !may(err) {
			return err
		}
		select {
		case <-time.After(rand.N(time.Duration(try) * 5 * time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

// InTheWay reports whether the transaction has changed nothing because of
// another at the same time, or took too long in between: it may be begun again.
func InTheWay(err error) bool {
	return hasCode(err,
		"40001", // serialization failure
		"40P01", // deadlock
		"23505", // somebody else has made it: it will be found
		"25P03", // we were stopped for too long in the middle of it
	)
}

// Lost reports whether the connection, or the server at its end, went away. What
// was not being committed then has changed nothing.
func Lost(err error) bool {
	if hasCode(err, "57P01", "57P02", "57P03") {
		return true
	}
	if _, ok := errors.AsType[*pgconn.PgError](err); ok {
		return false
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	return pgconn.SafeToRetry(err) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Refused reports whether PostgreSQL answers and does not let us in.
func Refused(err error) bool {
	return hasClass(err, "28") || hasCode(err, "3D000", "42501")
}

func hasCode(err error, codes ...string) bool {
	cause, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains(codes, cause.Code)
}

func hasClass(err error, classes ...string) bool {
	cause, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.ContainsFunc(classes, func(class string) bool { return strings.HasPrefix(cause.Code, class) })
}

// AsInvalid is an error of who gave the address, not of the moment.
func AsInvalid(err error) error {
	if problem, ok := errors.AsType[*springtide.Error](err); ok {
		invalid := *problem
		invalid.Kind = springtide.Invalid
		return &invalid
	}
	return err
}

// Problem says what an error of the PostgreSQL at a host means to its owner; nil:
// that is not known.
func Problem(owner, host string, err error) error {
	unavailable := func(what, hint string) error {
		return springtide.Errorf(springtide.Unavailable, "%s: PostgreSQL at %s %s: %w", owner, host, what, err).WithHint("%s", hint)
	}
	switch {
	case hasCode(err, "53100"):
		return unavailable("has a full disk", "free some space on it; nothing else needs to be done")
	case hasCode(err, "53300"):
		return unavailable("has no connection left", "raise its max_connections: each server needs up to 15")
	case hasCode(err, "25006"):
		return unavailable("is read-only", "is it a standby? give the address of the primary")
	case hasCode(err, "55P03"), InTheWay(err):
		return unavailable("has others in the way", "look for long transactions in pg_stat_activity")
	case hasClass(err, "57P", "08", "53", "58"):
		return unavailable("is starting, stopping or in trouble", "see its log; nothing is lost, and it goes on by itself")
	case Refused(err):
		return unavailable("does not let us in", "see that user, password and database are right, and that the user may create a schema in it")
	case Lost(err):
		return unavailable("does not answer", "is it running, and is there a way to it? nothing is lost, and it goes on by itself")
	}
	return nil
}
