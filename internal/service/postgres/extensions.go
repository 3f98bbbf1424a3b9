package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// harmless are the extensions that anybody may ask for: made by the superuser,
// they give an app nothing that is not its own. Those that reach files, other
// servers or the pages of other databases are not among them.
func harmless() []string {
	return []string{
		"bloom", "btree_gin", "btree_gist", "citext", "cube", "dict_int", "dict_xsyn", "earthdistance", "fuzzystrmatch", "hstore",
		"intarray", "isn", "lo", "ltree", "pg_trgm", "pgcrypto", "plpgsql", "seg", "tablefunc", "tcn", "tsm_system_rows",
		"tsm_system_time", "unaccent", "uuid-ossp",
		// Of packages of their own.
		"hll", "hypopg", "ip4r", "pg_hint_plan", "postgis", "postgis_raster", "postgis_topology", "prefix", "rum", "semver", "vector",
	}
}

// permitted gives an error of kind Denied for an extension that is not allowed.
func (d *Driver) permitted(spec springtide.Service) error {
	for _, name := range spec.Extensions {
		if !slices.Contains(harmless(), name) && !slices.Contains(d.options.Extensions, name) {
			return springtide.Errorf(springtide.Denied, "extension %s of PostgreSQL is not among those that apps may have", name)
		}
	}
	return nil
}

// settleExtensions makes those that are wanted. Others stay: their data would go
// with them.
func settleExtensions(ctx context.Context, conn *pgx.Conn, s service.Server) error {
	for _, name := range s.Spec.Extensions {
		there, err := ask[bool](ctx, conn, "select exists (select from pg_available_extensions where name = $1)", name)
		if err != nil {
			return err
		}
		if !there {
			return springtide.Errorf(springtide.Unavailable, "extension %s of PostgreSQL %s is not installed", name, s.Version).
				WithHint("run: apt-get install postgresql-%s-%s", s.Version, name)
		}
		if err := do(ctx, conn, "create extension if not exists "+quoted(name)+" cascade"); err != nil {
			return springtide.Errorf(springtide.Failed, "make extension %s: %w", name, err)
		}
	}
	return nil
}
