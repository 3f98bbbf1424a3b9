package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// Settle has a running primary be as wanted. The settings come first: what it
// writes after them would wait for a standby that is no longer there.
func (d *Driver) Settle(ctx context.Context, s service.Server) error {
	if err := d.permitted(s.Spec); err != nil {
		return err
	}
	if err := d.prepare(s); err != nil {
		return err
	}
	err := within(ctx, s, platformDatabase, func(conn *pgx.Conn) error {
		for _, step := range []func(context.Context, *pgx.Conn, service.Server) error{
			reload, settleRoles, settleDatabase, settleSlot,
		} {
			if err := step(ctx, conn, s); err != nil {
				return err
			}
		}
		return do(ctx, conn, "create extension if not exists pg_stat_statements")
	})
	if err != nil {
		return err
	}
	return within(ctx, s, s.Logins.Database, func(conn *pgx.Conn) error {
		if err := settleSchema(ctx, conn); err != nil {
			return err
		}
		if err := settleExtensions(ctx, conn, s); err != nil {
			return err
		}
		return retireOthers(ctx, conn, s)
	})
}

// reload has the server read what was prepared.
func reload(ctx context.Context, conn *pgx.Conn, _ service.Server) error {
	return do(ctx, conn, "select pg_reload_conf()")
}

// settleDatabase has the app's database be there. A copy of another service's data
// may have it by another name: it is the only one that the owner has.
func settleDatabase(ctx context.Context, conn *pgx.Conn, s service.Server) error {
	names, err := list[string](ctx, conn, "select datname from pg_database where datdba = $1::regrole", ownerRole)
	if err != nil {
		return err
	}
	wanted := s.Logins.Database
	there, err := ask[bool](ctx, conn, "select exists (select from pg_database where datname = $1)", wanted)
	switch {
	case err != nil:
		return err
	case there:
	case len(names) == 0:
		err = do(ctx, conn, "create database "+quoted(wanted)+" owner "+ownerRole)
	case len(names) == 1:
		err = do(ctx, conn, "alter database "+quoted(names[0])+" rename to "+quoted(wanted))
	default:
		err = springtide.Errorf(springtide.Conflict, "%s has %d databases, none of which is called %s", s.ID, len(names), wanted).
			WithHint("rename the right one in `tide db psql`")
	}
	if err != nil {
		return err
	}
	open, err := ask[bool](ctx, conn, "select has_database_privilege('public', $1, 'connect')", wanted)
	if err != nil || !open {
		return err
	}
	return do(ctx, conn, "revoke all on database "+quoted(wanted)+" from public")
}

// settleSlot lets go of the log that is kept for a replica that is not wanted.
func settleSlot(ctx context.Context, conn *pgx.Conn, s service.Server) error {
	if s.Spec.Replica {
		return nil
	}
	_, err := conn.Exec(ctx, "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and not active", replicaName)
	return err
}

// settleSchema gives the owner the schema in which the app finds itself. Since
// version 15 it belongs to whoever owns the database.
func settleSchema(ctx context.Context, conn *pgx.Conn) error {
	ours, err := ask[bool](ctx, conn, "select exists (select from pg_namespace where nspname = 'public' and nspowner = $1::regrole)", superuser)
	if err != nil || !ours {
		return err
	}
	return do(ctx, conn, "alter schema public owner to "+ownerRole)
}
