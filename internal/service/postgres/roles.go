package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// All that the app makes belongs to one role that nobody can log in as. Its logins
// are members of it and become it as soon as they are connected; so one of them
// can be dropped, and nothing is its own.

// settleRoles makes the owner, the logins and the replica's role.
func settleRoles(ctx context.Context, conn *pgx.Conn, s service.Server) error {
	for name, rights := range map[string]string{ownerRole: "nologin", s.Logins.Replication.Name: "login replication"} {
		there, err := ask[bool](ctx, conn, "select exists (select from pg_roles where rolname = $1)", name)
		if err == nil && !there && name != "" {
			err = do(ctx, conn, "create role "+quoted(name)+" "+rights)
		}
		if err != nil {
			return err
		}
	}
	for _, login := range []service.Login{s.Logins.Current, s.Logins.Previous} {
		if login.Name == "" {
			continue
		}
		if err := settleLogin(ctx, conn, login, service.Connections(s.Spec)); err != nil {
			return err
		}
	}
	return nil
}

// settleLogin makes a login of the app, in one transaction, unless it is there.
func settleLogin(ctx context.Context, conn *pgx.Conn, login service.Login, connections int) error {
	const state = `
		select rolcanlogin and rolconnlimit = $2 and pg_has_role(oid, $3::regrole, 'member')
			and exists (select from pg_db_role_setting where setrole = pg_authid.oid and setdatabase = 0 and 'role=' || $3::text = any (setconfig)),
			coalesce(rolpassword, '')
		from pg_authid where rolname = $1`
	var right bool
	var kept string
	err := conn.QueryRow(ctx, state, login.Name, connections, ownerRole).Scan(&right, &kept)
	if err == nil && right && verifies(kept, login.Password) {
		return nil
	}
	made, err2 := verifier(login.Password)
	if err2 != nil {
		return err2
	}
	role := quoted(login.Name)
	statements := []string{
		fmt.Sprintf("alter role %s login inherit connection limit %d password '%s'", role, connections, made),
		fmt.Sprintf("grant %s to %s", ownerRole, role),
		fmt.Sprintf("alter role %s set role = %s", role, ownerRole),
	}
	if err == pgx.ErrNoRows { //nolint:errorlint // Scan gives it as it is
		statements = slices.Insert(statements, 0, "create role "+role)
	} else if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return do(ctx, tx, statements...) })
}

// retireOthers drops the logins of the app that are not wanted, as they come with
// a copy of another service's data.
func retireOthers(ctx context.Context, conn *pgx.Conn, s service.Server) error {
	others, err := list[string](ctx, conn, `
		select rolname from pg_roles where rolcanlogin and not rolsuper and not rolname = any ($1)
			and exists (select from pg_auth_members where member = pg_roles.oid and roleid = $2::regrole)`,
		[]string{s.Logins.Current.Name, s.Logins.Previous.Name}, ownerRole)
	if err != nil {
		return err
	}
	for _, name := range others {
		if err := retire(ctx, conn, name); err != nil {
			return err
		}
	}
	return nil
}

// retire drops a login, once nobody is connected with it.
func retire(ctx context.Context, conn *pgx.Conn, name string) error {
	role := quoted(name)
	if err := do(ctx, conn, "alter role "+role+" nologin"); err != nil {
		return err
	}
	err := await(ctx, func() error {
		ended, err := list[bool](ctx, conn, "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", name)
		if err == nil && len(ended) > 0 {
			err = springtide.Errorf(springtide.Unavailable, "%d connections of %s have not ended", len(ended), name)
		}
		return err
	})
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		return do(ctx, tx, "reassign owned by "+role+" to "+ownerRole, "drop owned by "+role, "drop role "+role)
	})
}

// Rotate makes the next login beside the current one. It returns when a standby
// that is waited for has it too: a promotion must not forget it.
func (d *Driver) Rotate(ctx context.Context, s service.Server, next service.Login) error {
	return within(ctx, s, platformDatabase, func(conn *pgx.Conn) error {
		if err := do(ctx, conn, "set synchronous_commit = on"); err != nil {
			return err
		}
		return settleLogin(ctx, conn, next, service.Connections(s.Spec))
	})
}

// Retire drops the old login, and ends whatever is connected with it.
func (d *Driver) Retire(ctx context.Context, s service.Server, old service.Login) error {
	return within(ctx, s, s.Logins.Database, func(conn *pgx.Conn) error {
		there, err := ask[bool](ctx, conn, "select exists (select from pg_roles where rolname = $1)", old.Name)
		if err != nil || !there {
			return err
		}
		return retire(ctx, conn, old.Name)
	})
}
