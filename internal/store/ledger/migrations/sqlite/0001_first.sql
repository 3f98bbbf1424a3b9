-- The tables of migrations/postgres, which says what they hold.

CREATE TABLE clock (
    calendar  INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    uptime    INTEGER NOT NULL,
    away      INTEGER NOT NULL
) STRICT;
INSERT INTO clock VALUES (0, 0, 0, 0);

CREATE TABLE fences (last INTEGER NOT NULL) STRICT;
INSERT INTO fences VALUES (0);

CREATE TABLE environments (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    app            TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    concurrency    INTEGER NOT NULL DEFAULT 0,
    stopped        INTEGER NOT NULL DEFAULT FALSE,
    release_number INTEGER NOT NULL DEFAULT 0,
    forgotten      INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX environments_name ON environments (app, name) WHERE forgotten = 0;

CREATE TABLE queues (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    environment INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    concurrency INTEGER NOT NULL DEFAULT 0,
    attempts    INTEGER NOT NULL,
    retention   INTEGER NOT NULL,
    paused      INTEGER NOT NULL DEFAULT FALSE,
    UNIQUE (environment, name)
) STRICT;

CREATE TABLE queue_counts (
    queue     INTEGER NOT NULL,
    shard     INTEGER NOT NULL,
    arrived   INTEGER NOT NULL,
    finished  INTEGER NOT NULL,
    busy      INTEGER NOT NULL,
    waited    INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    dead      INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    skipped   INTEGER NOT NULL,
    missed    INTEGER NOT NULL,
    PRIMARY KEY (queue, shard)
) STRICT, WITHOUT ROWID;

CREATE TABLE schedules (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    environment INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    spec        TEXT    NOT NULL,
    paused      INTEGER NOT NULL DEFAULT FALSE,
    gone        INTEGER NOT NULL DEFAULT FALSE,
    next_slot   INTEGER NOT NULL DEFAULT 0,
    last_slot   INTEGER NOT NULL DEFAULT 0,
    UNIQUE (environment, name)
) STRICT;
CREATE INDEX schedules_due ON schedules (next_slot) WHERE next_slot <> 0;

CREATE TABLE batches (
    id          INTEGER PRIMARY KEY,
    environment INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    jobs        INTEGER NOT NULL,
    first_run   INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    ended       INTEGER NOT NULL DEFAULT 0,
    dead        INTEGER NOT NULL DEFAULT 0,
    done        TEXT    NOT NULL DEFAULT '',
    done_run    INTEGER NOT NULL DEFAULT 0,
    forget      INTEGER NOT NULL DEFAULT 0,
    UNIQUE (environment, name)
) STRICT;
CREATE INDEX batches_forget ON batches (forget) WHERE forget <> 0;

CREATE TABLE runs (
    id             INTEGER PRIMARY KEY,
    environment    INTEGER NOT NULL,
    queue          INTEGER NOT NULL,
    kind           TEXT    NOT NULL,
    state          TEXT    NOT NULL,
    priority       INTEGER NOT NULL,
    unique_key     TEXT    NOT NULL DEFAULT '',
    scope          TEXT    NOT NULL DEFAULT '',
    taken          TEXT    NOT NULL DEFAULT '',
    schedule       TEXT    NOT NULL DEFAULT '',
    slot           INTEGER NOT NULL DEFAULT 0,
    batch          TEXT    NOT NULL DEFAULT '',
    attempts       INTEGER NOT NULL,
    timeout        INTEGER NOT NULL,
    on_lost        TEXT    NOT NULL,
    created        INTEGER NOT NULL,
    run_at         INTEGER NOT NULL,
    due            INTEGER NOT NULL,
    place          INTEGER NOT NULL,
    available      INTEGER NOT NULL,
    start_by       INTEGER NOT NULL DEFAULT 0,
    finished       INTEGER NOT NULL DEFAULT 0,
    forget         INTEGER NOT NULL DEFAULT 0,
    attempt        INTEGER NOT NULL DEFAULT 0,
    failures       INTEGER NOT NULL DEFAULT 0,
    fence          INTEGER NOT NULL DEFAULT 0,
    settled        INTEGER NOT NULL DEFAULT 0,
    verdict        TEXT    NOT NULL DEFAULT '',
    lease          INTEGER NOT NULL DEFAULT 0,
    claimed        INTEGER NOT NULL DEFAULT 0,
    started        INTEGER NOT NULL DEFAULT 0,
    late           INTEGER NOT NULL DEFAULT FALSE,
    cancelling     INTEGER NOT NULL DEFAULT FALSE,
    runner         TEXT    NOT NULL DEFAULT '',
    release_number INTEGER NOT NULL DEFAULT 0,
    exit_code      INTEGER NOT NULL DEFAULT 0,
    percent        REAL    NOT NULL DEFAULT 0,
    message        TEXT    NOT NULL DEFAULT '',
    reason         TEXT    NOT NULL DEFAULT '',
    command        TEXT    NOT NULL,
    payload        TEXT    NOT NULL,
    result         TEXT    NOT NULL DEFAULT '',
    output         TEXT    NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX runs_listed ON runs (environment, id);
CREATE INDEX runs_commands ON runs (queue, place, available) WHERE state = 'available' AND kind = 'command';
CREATE INDEX runs_platform ON runs (queue, place, available) WHERE state = 'available' AND kind <> 'command';
CREATE INDEX runs_under_way ON runs (queue) WHERE state IN ('claimed', 'running');
CREATE INDEX runs_run_at ON runs (run_at) WHERE state = 'scheduled';
CREATE INDEX runs_due ON runs (due) WHERE state = 'scheduled';
CREATE INDEX runs_waiting ON runs (environment, schedule, id) WHERE state = 'waiting';
CREATE INDEX runs_deadline ON runs (start_by)
    WHERE start_by <> 0 AND NOT late AND started = 0 AND state IN ('scheduled', 'waiting', 'available', 'claimed');
CREATE INDEX runs_forget ON runs (forget) WHERE forget <> 0;
CREATE INDEX runs_dead ON runs (queue, id) WHERE state = 'dead';
CREATE UNIQUE INDEX runs_taken ON runs (environment, taken) WHERE taken <> '';
CREATE UNIQUE INDEX runs_slot ON runs (environment, schedule, slot) WHERE slot <> 0;
CREATE INDEX runs_of_schedule ON runs (environment, schedule, id) WHERE schedule <> '';
CREATE INDEX runs_open_of_schedule ON runs (environment, schedule, id)
    WHERE schedule <> '' AND state IN ('scheduled', 'waiting', 'available', 'claimed', 'running');
CREATE INDEX runs_of_batch ON runs (environment, batch, id) WHERE batch <> '';

CREATE TABLE happenings (
    id   INTEGER PRIMARY KEY,
    kind TEXT    NOT NULL,
    run  INTEGER NOT NULL
) STRICT;

CREATE TABLE locks (
    environment INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    fence       INTEGER NOT NULL,
    taken       INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    PRIMARY KEY (environment, name)
) STRICT, WITHOUT ROWID;
