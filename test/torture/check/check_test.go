package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// story is a ledger that has kept its promise: a schedule of two seconds, two
// slots of it, a job that was lost once, and a batch of one.
const story = `
UPDATE clock SET calendar = 101000000, last_seen = 101000000;
INSERT INTO environments (id, app, name, concurrency) VALUES (1, 'quiz', 'production', 2);
INSERT INTO queues (id, environment, name, concurrency, attempts, retention) VALUES (1, 1, 'default', 1, 25, 0), (2, 1, 'bulk', 0, 25, 0);
INSERT INTO schedules (environment, name, spec, next_slot) VALUES (1, 'tidy', '{"cron":"every 2s","missed":"all","overlap":"queue"}', 98000000);
INSERT INTO runs (id, environment, queue, kind, state, priority, unique_key, scope, taken, schedule, slot, batch, attempts, timeout, on_lost,
	created, run_at, due, place, available, start_by, finished, forget, reason, command, payload) VALUES
	(1, 1, 1, 'command', 'available', 0, '', '', '', 'tidy', 98000000, '', 25, 0, 'retry', 0, 98000000, 0, 0, 0, 0, 0, 0, '', '', ''),
	(2, 1, 1, 'command', 'waiting', 0, '', '', '', 'tidy', 100000000, '', 25, 0, 'retry', 0, 100000000, 0, 0, 0, 0, 0, 0, '', '', ''),
	(3, 1, 2, 'command', 'available', 0, 'a', 'kept', 'a', '', 0, 'all', 25, 0, 'retry', 0, 0, 0, 0, 0, 0, 0, 0, '', '', '{"expect":"succeeded"}');
INSERT INTO batches (id, environment, name, jobs, first_run, size, done) VALUES (9, 1, 'all', 1, 3, 1, '{"key":"all-done"}');
UPDATE runs SET state = 'running', attempt = 1, fence = 1 WHERE id = 1;
UPDATE runs SET state = 'succeeded', settled = 1, verdict = 'succeeded' WHERE id = 1;
UPDATE runs SET state = 'available' WHERE id = 2;
UPDATE runs SET state = 'claimed', attempt = 1, fence = 2 WHERE id = 2;
UPDATE runs SET state = 'running' WHERE id = 2;
UPDATE runs SET state = 'succeeded', settled = 2, verdict = 'succeeded' WHERE id = 2;
UPDATE runs SET state = 'running', attempt = 1, fence = 3 WHERE id = 3;
UPDATE runs SET state = 'scheduled', failures = 1 WHERE id = 3;
UPDATE runs SET state = 'available' WHERE id = 3;
UPDATE runs SET state = 'running', attempt = 2, fence = 4 WHERE id = 3;
UPDATE runs SET state = 'succeeded', settled = 4, verdict = 'succeeded', result = '{"run":"0000000000006","fence":4,"attempt":2}' WHERE id = 3;
INSERT INTO runs (id, environment, queue, kind, state, priority, unique_key, scope, taken, schedule, slot, batch, attempts, timeout, on_lost,
	created, run_at, due, place, available, start_by, finished, forget, reason, command, payload) VALUES
	(4, 1, 2, 'command', 'available', 0, 'all-done', 'kept', 'all-done', '', 0, '', 25, 0, 'retry', 0, 0, 0, 0, 0, 0, 0, 0, '', '', '');
UPDATE batches SET ended = 1, done_run = 4;
UPDATE runs SET state = 'running', attempt = 1, fence = 5 WHERE id = 4;
UPDATE runs SET state = 'dead', settled = 5, verdict = 'failed', failures = 1 WHERE id = 4;
INSERT INTO queue_counts (queue, shard, arrived, finished, busy, waited, succeeded, dead, cancelled, skipped, missed) VALUES
	(1, 0, 2, 2, 0, 0, 2, 0, 0, 0, 0), (2, 0, 2, 3, 0, 0, 1, 1, 0, 0, 0);
`

const acknowledged = `job a 0000000000006
batch all
result 0000000000006 4 succeeded
`

// checked makes a ledger in which the story happened, and what is said besides,
// and checks it. The tables are those of the ledger; its code has no part.
func checked(t *testing.T, besides, notes string) (report, error) {
	t.Helper()
	folder := t.TempDir()
	location, acknowledgements := filepath.Join(folder, "jobs.db"), filepath.Join(folder, "acknowledged")
	db, err := sql.Open("sqlite", location)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	migrations, err := filepath.Glob("../../../internal/store/ledger/migrations/sqlite/*.sql")
	if err != nil || len(migrations) == 0 {
		t.Fatalf("there are no tables: %v", err)
	}
	for _, name := range migrations {
		tables, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		execute(t, db, string(tables))
	}
	if err := run(t.Context(), []string{"-database", location, "-prepare"}, nil); err != nil {
		t.Fatal(err)
	}
	execute(t, db, story)
	execute(t, db, besides)
	if err := os.WriteFile(acknowledgements, []byte(notes), 0o600); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	found := run(t.Context(), []string{"-database", location, "-json", "-acknowledged", acknowledgements}, &output)
	var r report
	if err := json.Unmarshal(output.Bytes(), &r); err != nil {
		t.Fatalf("%v, %v\n%s", found, err, output.String())
	}
	return r, found
}

func execute(t *testing.T, db *sql.DB, statements string) {
	t.Helper()
	if _, err := db.ExecContext(context.Background(), statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

func TestALedgerThatKeptItsPromiseIsFoundToHaveKeptIt(t *testing.T) {
	r, err := checked(t, "", acknowledged)
	if err != nil {
		t.Fatalf("%v: %v", err, r.Violations)
	}
	numbers := map[string]int{}
	for _, n := range r.Numbers {
		numbers[n.Name] = n.Value
	}
	for name, want := range map[string]int{
		"slots expected": 2, "slots recorded": 2, "slots recorded, distinct": 2, "runs": 4, "attempts": 5,
		"attempts whose result was accepted": 4, "attempts that ended without a result": 1, "jobs acknowledged": 1, "results acknowledged": 1,
	} {
		if numbers[name] != want {
			t.Errorf("%s: %d, want %d", name, numbers[name], want)
		}
	}
}

const (
	slot = `INSERT INTO runs (id, environment, queue, kind, state, priority, unique_key, scope, taken, schedule, slot, batch, attempts, timeout, on_lost,
		created, run_at, due, place, available, start_by, finished, forget, reason, command, payload)
		SELECT 5, 1, queue, kind, 'cancelled', 0, '', '', '', schedule, `
	rest = `, '', 25, 0, 'retry', 0, run_at, 0, 0, 0, 0, 0, 0, '', '', '' FROM runs WHERE id = 1;
		UPDATE queue_counts SET cancelled = 1 WHERE queue = 1;`
)

func TestEveryBrokenPromiseIsNamed(t *testing.T) {
	for name, broken := range map[string]struct{ besides, notes, violation string }{
		"a slot is missing":                     {"UPDATE clock SET calendar = 102000000", "", "the slot 1970-01-01T00:01:42Z of tidy is missing"},
		"a slot is twice":                       {"DROP INDEX runs_slot;" + slot + "slot" + rest, "", "the slot 1970-01-01T00:01:38Z of tidy is recorded twice"},
		"a slot is before its time":             {slot + "102000000" + rest, "", "is recorded before its time"},
		"a slot is none":                        {slot + "99000000" + rest, "", "the slot 1970-01-01T00:01:39Z of tidy is recorded, and is none of its times"},
		"a slot is lost in a change":            {"UPDATE clock SET calendar = 108000000; UPDATE schedules SET spec = '{\"cron\":\"every 5s\"}', last_slot = 100000000, next_slot = 110000000", "", "the slot 1970-01-01T00:01:42Z of tidy is missing"},
		"a schedule goes back":                  {"UPDATE schedules SET spec = '{\"cron\":\"every 5s\"}', last_slot = 100000000, next_slot = 100000000", "", "tidy begins again with the slot 1970-01-01T00:01:40Z"},
		"a schedule leaves a slot out":          {"UPDATE schedules SET spec = '{\"cron\":\"every 1s\"}', last_slot = 100000000, next_slot = 104000000", "", "leaves out 1970-01-01T00:01:42Z"},
		"a slot was missed":                     {"UPDATE runs SET state = 'missed' WHERE id = 2", "", "was missed, though all are to run"},
		"a slot was skipped":                    {"UPDATE runs SET state = 'skipped' WHERE id = 2", "", "was skipped, though its overlap is queue"},
		"a result is taken twice":               {"UPDATE runs SET result = '{}' WHERE id = 3", "", "changed while it was succeeded"},
		"a run succeeds twice":                  {"UPDATE runs SET state = 'running' WHERE id = 3; UPDATE runs SET state = 'succeeded' WHERE id = 3", "", "succeeded 2 times"},
		"a stale result is taken":               {"UPDATE runs SET state = 'available' WHERE id = 4; UPDATE runs SET state = 'running', fence = 6, attempt = 2 WHERE id = 4; UPDATE runs SET state = 'succeeded', settled = 6, verdict = 'succeeded', result = '{\"run\":\"0000000000008\",\"fence\":5,\"attempt\":1}' WHERE id = 4", "", "attempt 2 with fence 6, took the result of run 0000000000008, attempt 1 with fence 5"},
		"a stale fence is settled":              {"UPDATE runs SET state = 'available' WHERE id = 4; UPDATE runs SET state = 'running', fence = 6, attempt = 2 WHERE id = 4; UPDATE runs SET state = 'succeeded', settled = 4, verdict = 'succeeded' WHERE id = 4", "", "took a result of fence 4 when it was running with fence 6"},
		"a fence does not rise":                 {"UPDATE runs SET state = 'available' WHERE id = 4; UPDATE runs SET state = 'running', fence = 5, attempt = 2 WHERE id = 4", "", "was claimed as attempt 2 with fence 5 after attempt 1 with fence 5"},
		"two runs have a fence":                 {"UPDATE runs SET state = 'available' WHERE id = 3; UPDATE runs SET state = 'running', fence = 5, attempt = 3 WHERE id = 3", "", "the fence 5 was given to run"},
		"a fence comes from nowhere":            {"UPDATE runs SET fence = 7 WHERE id = 4", "", "without a claim"},
		"a success without a result":            {"UPDATE runs SET state = 'available' WHERE id = 4; UPDATE runs SET state = 'running', fence = 6, attempt = 2 WHERE id = 4; UPDATE runs SET state = 'succeeded' WHERE id = 4", "", "succeeded without a result of its attempt"},
		"a run goes where it cannot":            {"UPDATE runs SET state = 'waiting' WHERE id = 4", "", "went from \"dead\" to \"waiting\""},
		"a run is left under way":               {"UPDATE runs SET state = 'available' WHERE id = 4; UPDATE runs SET state = 'running', fence = 6, attempt = 2 WHERE id = 4", "", "is running still"},
		"a run is gone":                         {"DELETE FROM runs WHERE id = 3", "", "is gone: it was deleted"},
		"a run was changed behind the history":  {"DROP TRIGGER audit_moved; UPDATE runs SET state = 'cancelled' WHERE id = 4", "", "the last that was written down is dead"},
		"a job ends otherwise than it is to":    {"UPDATE runs SET payload = '{\"expect\":\"succeeded\"}' WHERE id = 4", "", "has ended as dead, not succeeded"},
		"a job is given up too early":           {"UPDATE runs SET verdict = '' WHERE id = 4", "", "is dead after 1 of 25 failures"},
		"an acknowledged job is lost":           {"", "job b 0000000000007", "the job b was acknowledged as run 0000000000007, and is lost"},
		"an acknowledged job is another":        {"", "job a 0000000000008", "the job a was acknowledged as run 0000000000008, and is lost"},
		"a key has two runs":                    {"UPDATE runs SET unique_key = 'a' WHERE id = 4", "", "the key a has two runs"},
		"an acknowledged batch is lost":         {"", "batch b", "the batch b was acknowledged, and is lost"},
		"an acknowledged result is lost":        {"", "result 0000000000006 3 succeeded", "a result was acknowledged, and is lost"},
		"a batch has lost a run":                {"UPDATE batches SET size = 2", "", "batch all says 2 runs"},
		"a batch is never done":                 {"UPDATE batches SET done_run = 0", "", "was not enqueued"},
		"a batch is done too early":             {"UPDATE runs SET state = 'available' WHERE id = 3; UPDATE runs SET state = 'running', fence = 6, attempt = 3 WHERE id = 3; UPDATE runs SET state = 'succeeded', settled = 6 WHERE id = 3", "", "was not over when what was to be done then was enqueued"},
		"a batch is done twice":                 {"UPDATE runs SET unique_key = 'all-done' WHERE id = 1", "", "there are 2"},
		"a batch is lost":                       {"DELETE FROM batches", "", "there are 1 runs of batch all, but no batch"},
		"a queue is over its limit":             {"UPDATE queues SET concurrency = 1 WHERE id = 2; UPDATE runs SET state = 'available' WHERE id IN (3, 4); UPDATE runs SET state = 'running', fence = 3 + id, attempt = attempt + 1 WHERE id IN (3, 4)", "", "2 runs of queue bulk were under way, its limit is 1"},
		"an environment is over its limit":      {"UPDATE runs SET state = 'available' WHERE id IN (2, 3, 4); UPDATE runs SET state = 'running', fence = 5 + id, attempt = attempt + 1 WHERE id IN (2, 3, 4)", "", "3 runs of production were under way, the limit is 2"},
		"two runs of a schedule run at a time":  {"UPDATE runs SET state = 'available' WHERE id IN (1, 2); UPDATE runs SET state = 'running', fence = 5 + id, attempt = 2 WHERE id IN (1, 2)", "", "two runs of tidy at a time"},
		"the ledger has counted wrongly":        {"UPDATE queue_counts SET dead = 2 WHERE queue = 2", "", "queue bulk counts"},
		"a slot starts outside of its jitter":   {"UPDATE runs SET run_at = slot + 1, attempt = 0 WHERE id = 2", "", "beyond its jitter"},
		"a run has no history at all":           {"DELETE FROM audit_runs WHERE run = 4", "", "has no history"},
		"a success is told of by another fence": {"UPDATE runs SET settled = 3 WHERE id = 3", "", "but the last result was succeeded of fence 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := checked(t, broken.besides, acknowledged+broken.notes)
			if err == nil || !strings.Contains(strings.Join(r.Violations, "\n"), broken.violation) {
				t.Errorf("%v:\n%s\nwant: %s", err, strings.Join(r.Violations, "\n"), broken.violation)
			}
		})
	}
}

func TestASchedulesHistoryIsFollowedThroughDeploys(t *testing.T) {
	for name, history := range map[string]string{
		"it is set again as it is":   "UPDATE schedules SET gone = TRUE, next_slot = 0, last_slot = 100000000; UPDATE schedules SET gone = FALSE, next_slot = 102000000;",
		"its times change":           "UPDATE schedules SET gone = TRUE, next_slot = 0, last_slot = 100000000; UPDATE schedules SET gone = FALSE, spec = '{\"cron\":\"every 1m\"}', next_slot = 120000000;",
		"it goes":                    "UPDATE schedules SET gone = TRUE, next_slot = 0, last_slot = 100000000; UPDATE clock SET calendar = 150000000;",
		"it goes and comes back":     "UPDATE schedules SET gone = TRUE, next_slot = 0, last_slot = 100000000; UPDATE clock SET calendar = 150000000; UPDATE schedules SET gone = FALSE, next_slot = 152000000;",
		"it becomes a cron schedule": "UPDATE schedules SET gone = TRUE, next_slot = 0, last_slot = 100000000; UPDATE schedules SET gone = FALSE, spec = '{\"cron\":\"*/2 * * * *\"}', next_slot = 120000000;",
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := checked(t, history, ""); err != nil {
				t.Errorf("%v: %v", err, r.Violations)
			}
		})
	}
}
