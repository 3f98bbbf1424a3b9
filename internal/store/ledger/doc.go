// Package ledger keeps the ledger of jobs in SQLite or PostgreSQL.
package ledger

import _ "github.com/jackc/pgx/v5/stdlib"
