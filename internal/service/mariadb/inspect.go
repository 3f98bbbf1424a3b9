package mariadb

import (
	"context"
	"database/sql"
	"maps"
	"strconv"
	"time"

	"github.com/springtide/springtide/internal/service"
)

// Inspect gives facts in the server's words, and the app's slowest statements
// since it was started, by their mean.
func (Driver) Inspect(ctx context.Context, server service.Server) (service.Info, error) {
	info := service.Info{MaxConnections: service.Connections(server.Spec), Details: map[string]string{}}
	err := with(ctx, server, func(conn *sql.Conn) error {
		found, err := askOne(ctx, conn, "SELECT SUM(data_length + index_length) AS size FROM information_schema.tables")
		if err != nil {
			return err
		}
		info.Size, _ = strconv.ParseInt(found["size"], 10, 64)
		if err := facts(ctx, conn, &info); err != nil {
			return err
		}
		info.Statements, err = statements(ctx, conn, server.Logins.Database)
		return err
	})
	return info, err
}

func facts(ctx context.Context, conn *sql.Conn, info *service.Info) error {
	found, err := ask(ctx, conn, `SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Questions', 'Slow_queries', 'Threads_connected', 'Threads_running',
		'Max_used_connections', 'Aborted_clients', 'Innodb_buffer_pool_reads', 'Innodb_buffer_pool_read_requests', 'Innodb_deadlocks',
		'Rpl_semi_sync_master_status', 'Rpl_semi_sync_master_clients')`)
	if err != nil {
		return err
	}
	for _, one := range found {
		info.Details[one["Variable_name"]] = one["Value"]
	}
	// The platform's own connection is not the app's.
	connected, _ := strconv.Atoi(info.Details["Threads_connected"])
	info.Connections = connected - 1
	count := func(name string) int64 {
		number, _ := strconv.ParseInt(info.Details[name], 10, 64)
		return number
	}
	info.Activity.Transactions, info.Activity.CacheMisses = count("Questions"), count("Innodb_buffer_pool_reads")
	info.Activity.CacheHits = max(count("Innodb_buffer_pool_read_requests")-info.Activity.CacheMisses, 0)
	settings, err := askOne(ctx, conn, "SELECT VERSION() AS version, @@innodb_buffer_pool_size AS innodb_buffer_pool_size, @@gtid_current_pos AS gtid_current_pos, @@read_only AS read_only")
	if err != nil {
		return err
	}
	maps.Copy(info.Details, settings)
	logs, err := ask(ctx, conn, "SHOW BINARY LOGS")
	var size int64
	for _, one := range logs {
		bytes, _ := strconv.ParseInt(one["File_size"], 10, 64)
		size += bytes
	}
	info.Details["binary_logs_bytes"] = strconv.FormatInt(size, 10)
	return err
}

func statements(ctx context.Context, conn *sql.Conn, database string) ([]service.Statement, error) {
	found, err := ask(ctx, conn, `SELECT digest_text AS text, count_star AS calls, avg_timer_wait DIV 1000 AS mean
		FROM performance_schema.events_statements_summary_by_digest
		WHERE schema_name = ? AND digest_text IS NOT NULL ORDER BY avg_timer_wait DESC LIMIT 20`, database)
	var all []service.Statement
	for _, one := range found {
		calls, _ := strconv.ParseInt(one["calls"], 10, 64)
		mean, _ := strconv.ParseInt(one["mean"], 10, 64) // ns
		all = append(all, service.Statement{Text: one["text"], Calls: calls, Mean: time.Duration(mean)})
	}
	return all, err
}
