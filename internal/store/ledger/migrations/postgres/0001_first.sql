-- Times are microseconds of the calendar since 1970, but for those that are said
-- to be of uptime; durations are microseconds too. 0 and '' stand for none.

-- The two clocks, one row. away is when the last outage was over.
CREATE TABLE clock (
    calendar  BIGINT  NOT NULL,
    last_seen BIGINT  NOT NULL,
    uptime    BIGINT  NOT NULL,
    away      BIGINT  NOT NULL
);
INSERT INTO clock VALUES (0, 0, 0, 0);

-- Of runs and of locks.
CREATE SEQUENCE fences;

-- A forgotten one is there until nothing can be left of it: forgotten is when, in uptime.
CREATE TABLE environments (
    id             BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app            TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    concurrency    BIGINT  NOT NULL DEFAULT 0,
    stopped        BOOLEAN NOT NULL DEFAULT FALSE,
    release_number BIGINT  NOT NULL DEFAULT 0,
    forgotten      BIGINT  NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX environments_name ON environments (app, name) WHERE forgotten = 0;

CREATE TABLE queues (
    id          BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment BIGINT  NOT NULL,
    name        TEXT    NOT NULL,
    concurrency BIGINT  NOT NULL DEFAULT 0,
    attempts    BIGINT  NOT NULL,
    retention   BIGINT  NOT NULL,
    paused      BOOLEAN NOT NULL DEFAULT FALSE,
    UNIQUE (environment, name)
);

-- What queues are told by, spread over shards: their sum counts. The first four
-- are of commands only, the others are how many runs are remembered in a state.
CREATE TABLE queue_counts (
    queue     BIGINT  NOT NULL,
    shard     BIGINT  NOT NULL,
    arrived   BIGINT  NOT NULL,
    finished  BIGINT  NOT NULL,
    busy      BIGINT  NOT NULL,
    waited    BIGINT  NOT NULL,
    succeeded BIGINT  NOT NULL,
    dead      BIGINT  NOT NULL,
    cancelled BIGINT  NOT NULL,
    skipped   BIGINT  NOT NULL,
    missed    BIGINT  NOT NULL,
    PRIMARY KEY (queue, shard)
) WITH (fillfactor = 20);

-- spec is JSON: springtide.Schedule. Those that are gone stay, for their last slot.
CREATE TABLE schedules (
    id          BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment BIGINT  NOT NULL,
    name        TEXT    NOT NULL,
    spec        TEXT    NOT NULL,
    paused      BOOLEAN NOT NULL DEFAULT FALSE,
    gone        BOOLEAN NOT NULL DEFAULT FALSE,
    next_slot   BIGINT  NOT NULL DEFAULT 0,
    last_slot   BIGINT  NOT NULL DEFAULT 0,
    UNIQUE (environment, name)
);
CREATE INDEX schedules_due ON schedules (next_slot) WHERE next_slot <> 0;

-- jobs is how many were asked for; the runs that were made of them have the
-- numbers from first_run on, size is how many. done is JSON: springtide.Job.
-- forget is in uptime.
CREATE TABLE batches (
    id          BIGINT  PRIMARY KEY,
    environment BIGINT  NOT NULL,
    name        TEXT    NOT NULL,
    jobs        BIGINT  NOT NULL,
    first_run   BIGINT  NOT NULL,
    size        BIGINT  NOT NULL,
    ended       BIGINT  NOT NULL DEFAULT 0,
    dead        BIGINT  NOT NULL DEFAULT 0,
    done        TEXT    NOT NULL DEFAULT '',
    done_run    BIGINT  NOT NULL DEFAULT 0,
    forget      BIGINT  NOT NULL DEFAULT 0,
    UNIQUE (environment, name)
);
CREATE INDEX batches_forget ON batches (forget) WHERE forget <> 0;

-- id is what a RunID writes in letters and digits. taken is the key as long as
-- it keeps others away. due, lease and forget are in uptime. place is its turn
-- among the available ones, available since when it is. settled is the last
-- fence whose outcome was accepted, verdict what it was. What has a fixed length
-- comes first: so PostgreSQL knows where in a row it is.
CREATE TABLE runs (
    id             BIGINT  PRIMARY KEY,
    environment    BIGINT  NOT NULL,
    queue          BIGINT  NOT NULL,
    priority       BIGINT  NOT NULL,
    slot           BIGINT  NOT NULL DEFAULT 0,
    attempts       BIGINT  NOT NULL,
    timeout        BIGINT  NOT NULL,
    created        BIGINT  NOT NULL,
    run_at         BIGINT  NOT NULL,
    due            BIGINT  NOT NULL,
    place          BIGINT  NOT NULL,
    available      BIGINT  NOT NULL,
    start_by       BIGINT  NOT NULL DEFAULT 0,
    finished       BIGINT  NOT NULL DEFAULT 0,
    forget         BIGINT  NOT NULL DEFAULT 0,
    attempt        BIGINT  NOT NULL DEFAULT 0,
    failures       BIGINT  NOT NULL DEFAULT 0,
    fence          BIGINT  NOT NULL DEFAULT 0,
    settled        BIGINT  NOT NULL DEFAULT 0,
    lease          BIGINT  NOT NULL DEFAULT 0,
    claimed        BIGINT  NOT NULL DEFAULT 0,
    started        BIGINT  NOT NULL DEFAULT 0,
    release_number BIGINT  NOT NULL DEFAULT 0,
    exit_code      BIGINT  NOT NULL DEFAULT 0,
    percent        DOUBLE PRECISION NOT NULL DEFAULT 0,
    late           BOOLEAN NOT NULL DEFAULT FALSE,
    cancelling     BOOLEAN NOT NULL DEFAULT FALSE,
    kind           TEXT    NOT NULL,
    state          TEXT    NOT NULL,
    unique_key     TEXT    NOT NULL DEFAULT '',
    scope          TEXT    NOT NULL DEFAULT '',
    taken          TEXT    NOT NULL DEFAULT '',
    schedule       TEXT    NOT NULL DEFAULT '',
    batch          TEXT    NOT NULL DEFAULT '',
    on_lost        TEXT    NOT NULL,
    verdict        TEXT    NOT NULL DEFAULT '',
    runner         TEXT    NOT NULL DEFAULT '',
    message        TEXT    NOT NULL DEFAULT '',
    reason         TEXT    NOT NULL DEFAULT '',
    command        TEXT    NOT NULL,
    payload        TEXT    NOT NULL,
    result         TEXT    NOT NULL DEFAULT '',
    output         TEXT    NOT NULL DEFAULT ''
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.1);

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

-- What the next tick tells an operator.
CREATE TABLE happenings (
    id   BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT    NOT NULL,
    run  BIGINT  NOT NULL
);

-- expires is in uptime.
CREATE TABLE locks (
    environment BIGINT  NOT NULL,
    name        TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    fence       BIGINT  NOT NULL,
    taken       BIGINT  NOT NULL,
    expires     BIGINT  NOT NULL,
    PRIMARY KEY (environment, name)
);
