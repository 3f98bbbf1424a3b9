package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide/internal/service"
)

// details are further facts, each a query that gives one text.
func details() map[string]string {
	return map[string]string{
		"version": "show server_version",
		"started": "select to_char(pg_postmaster_start_time() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
		"cache hits": `select coalesce(round(100.0 * sum(blks_hit) / nullif(sum(blks_hit + blks_read), 0), 1) || ' %', 'none yet')
			from pg_stat_database`,
		"oldest transaction": `select coalesce(date_trunc('second', max(now() - xact_start))::text, 'none')
			from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`,
		"synchronous standby": "select case current_setting('synchronous_standby_names') when '' then 'none' else 'waited for' end",
		"standby":             "select coalesce(string_agg(state || ', ' || sync_state, '; '), 'none') from pg_stat_replication where application_name = '" + replicaName + "'",
		"replica's slot":      "select coalesce(max(wal_status), 'none') from pg_replication_slots where slot_name = '" + replicaName + "'",
		"archiving": `select case when last_failed_time > coalesce(last_archived_time, '-infinity') then 'fails since segment ' || last_failed_wal
			else 'segment ' || coalesce(last_archived_wal, 'none yet') end from pg_stat_archiver`,
	}
}

// Inspect tells how a running server does.
func (d *Driver) Inspect(ctx context.Context, s service.Server) (service.Info, error) {
	info := service.Info{MaxConnections: service.Connections(s.Spec), Details: map[string]string{}}
	err := within(ctx, s, platformDatabase, func(conn *pgx.Conn) (err error) {
		for name, query := range details() {
			if info.Details[name], err = ask[string](ctx, conn, query); err != nil {
				return fmt.Errorf("ask for %s: %w", name, err)
			}
		}
		err = conn.QueryRow(ctx, `
			select pg_database_size($1), (select count(*) from pg_stat_activity where datname = $1 and usename <> $2),
				xact_commit + xact_rollback, blks_hit, blks_read
			from pg_stat_database where datname = $1`,
			s.Logins.Database, superuser).Scan(&info.Size, &info.Connections, &info.Activity.Transactions, &info.Activity.CacheHits, &info.Activity.CacheMisses)
		if err != nil {
			return err
		}
		info.Statements, err = slowest(ctx, conn, s.Logins.Database)
		return err
	})
	info.Details["changes"] = changesKept(s)
	return info, err
}

// slowest are the app's statements that take the longest.
func slowest(ctx context.Context, conn *pgx.Conn, database string) ([]service.Statement, error) {
	there, err := ask[bool](ctx, conn, "select exists (select from pg_extension where extname = 'pg_stat_statements')")
	if err != nil || !there { // Not on a replica of a primary that is not settled yet.
		return nil, err
	}
	rows, err := conn.Query(ctx, `
		select left(query, 1000), calls, mean_exec_time from pg_stat_statements
		where dbid = (select oid from pg_database where datname = $1) and userid <> $2::regrole
		order by mean_exec_time desc limit 10`, database, superuser)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (one service.Statement, err error) {
		var mean float64 // in milliseconds
		err = row.Scan(&one.Text, &one.Calls, &mean)
		one.Mean = time.Duration(mean * float64(time.Millisecond))
		return one, err
	})
}

// changesKept says what becomes of the log of changes.
func changesKept(s service.Server) string {
	waiting, err := os.ReadDir(filepath.Join(s.Folder, changesFolder))
	if err != nil {
		return "not kept"
	}
	text := fmt.Sprintf("%d segments wait to be shipped", len(waiting))
	if gap, err := os.Stat(filepath.Join(s.Folder, gapFile)); err == nil {
		text += "; too many did: some were dropped until " + gap.ModTime().UTC().Format(time.RFC3339)
	}
	return text
}
