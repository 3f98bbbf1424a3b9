// Command check recomputes from the tables of a ledger of jobs whether it has
// kept its promise: each slot recorded once, one result accepted, a higher fence
// with each attempt, nothing lost. It shares no code with the ledger, and asks no
// server. For the history of runs it needs the tables that -prepare adds, whose
// triggers write down every move.
//
//	check -database postgres://… -prepare    before anything is enqueued
//	check -database postgres://… -acknowledged notes.txt
//
// It exits with 1 and names every violation, if there is any.
package main

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // registers itself as pgx
	_ "modernc.org/sqlite"             // registers itself as sqlite
)

//go:embed audit_postgres.sql
var auditPostgres string

//go:embed audit_sqlite.sql
var auditSQLite string

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	location := flags.String("database", "", "postgres://... or the path of an SQLite database")
	acknowledged := flags.String("acknowledged", "", "a file of what was acknowledged: lines of job KEY RUN, batch NAME, result RUN FENCE VERDICT")
	asJSON := flags.Bool("json", false, "print JSON")
	prepare := flags.Bool("prepare", false, "only add the tables and triggers that write down the history")
	if err := flags.Parse(args); err != nil {
		return err
	}
	db, audit, err := open(*location)
	if err != nil {
		return err
	}
	defer db.Close()
	if *prepare {
		_, err := db.ExecContext(ctx, audit)
		return err
	}
	b, err := read(ctx, db)
	if err != nil {
		return err
	}
	r := &report{Violations: []string{}}
	checkSlots(b, r)
	checkRuns(b, r)
	checkTogether(b, r)
	checkBatches(b, r)
	if *acknowledged != "" {
		notes, err := os.Open(*acknowledged)
		if err != nil {
			return err
		}
		defer notes.Close()
		if err := checkAcknowledged(b, notes, r); err != nil {
			return err
		}
	}
	checkCounts(b, r)
	return r.print(stdout, *asJSON)
}

// open gives the database, and what prepares it.
func open(location string) (db *sql.DB, audit string, err error) {
	if location == "" {
		return nil, "", errors.New("-database is missing")
	}
	if !strings.HasPrefix(location, "postgres://") && !strings.HasPrefix(location, "postgresql://") {
		source := url.URL{Scheme: "file", Opaque: (&url.URL{Path: location}).EscapedPath(), RawQuery: "_pragma=busy_timeout(10000)"}
		db, err = sql.Open("sqlite", source.String())
		return db, auditSQLite, err
	}
	address, err := url.Parse(location)
	if err != nil {
		return nil, "", err
	}
	query := address.Query()
	query.Set("search_path", "springtide")
	address.RawQuery = query.Encode()
	db, err = sql.Open("pgx", address.String())
	return db, auditPostgres, err
}

// report is what the check has found.
type report struct {
	Numbers    []number `json:"numbers"`
	Violations []string `json:"violations"`
}

type number struct {
	Name  string `json:"name"`
	Value int    `json:"value"`
}

func (r *report) number(name string, value int) { r.Numbers = append(r.Numbers, number{name, value}) }

func (r *report) violation(format string, args ...any) {
	r.Violations = append(r.Violations, fmt.Sprintf(format, args...))
}

func (r *report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(r); err != nil {
			return err
		}
	} else {
		for _, n := range r.Numbers {
			fmt.Fprintf(w, "%10d  %s\n", n.Value, n.Name)
		}
		for _, violation := range r.Violations {
			fmt.Fprintln(w, "violation:", violation)
		}
	}
	if len(r.Violations) > 0 {
		return fmt.Errorf("%d violations", len(r.Violations))
	}
	return nil
}
