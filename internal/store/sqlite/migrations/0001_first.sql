-- Times are UTC in nanoseconds since 1970, 0 for none. Columns called JSON hold
-- a Go value of the vocabulary as encoding/json writes it; whatever a query
-- selects or orders by has a column of its own.

CREATE TABLE environments (
    app        TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    created    INTEGER NOT NULL,
    active     INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0,
    stopped    INTEGER NOT NULL DEFAULT 0,
    config     TEXT    NOT NULL DEFAULT 'null', -- JSON: map[string]string
    scale      TEXT    NOT NULL DEFAULT 'null', -- JSON: map[ProcessName]ScaleRange
    PRIMARY KEY (app, name)
) STRICT, WITHOUT ROWID;

-- The last numbers that were given. A row outlives its environment, so that no
-- number is ever given twice.
CREATE TABLE counters (
    app         TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    release     INTEGER NOT NULL DEFAULT 0,
    generation  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app, environment)
) STRICT, WITHOUT ROWID;

-- A domain has one owner, for at least one of two reasons: it was added by
-- hand, or the manifest of a release names it.
CREATE TABLE domains (
    domain      TEXT    NOT NULL PRIMARY KEY,
    app         TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    by_hand     INTEGER NOT NULL DEFAULT 0,
    by_manifest INTEGER NOT NULL DEFAULT 0,
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX domains_of_environment ON domains (app, environment);

CREATE TABLE releases (
    app         TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    number      INTEGER NOT NULL,
    artifact    TEXT    NOT NULL,
    manifest    TEXT    NOT NULL, -- JSON: App
    config      TEXT    NOT NULL, -- JSON: map[string]string
    description TEXT    NOT NULL,
    created     INTEGER NOT NULL,
    state       TEXT    NOT NULL,
    reason      TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (app, environment, number),
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
) STRICT;

CREATE TABLE rollouts (
    app         TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    generation  INTEGER NOT NULL,
    release     INTEGER NOT NULL,
    step        TEXT    NOT NULL,
    previous    TEXT    NOT NULL, -- JSON: []GroupID
    deploy      TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    started     INTEGER NOT NULL,
    updated     INTEGER NOT NULL,
    switched    INTEGER NOT NULL,
    PRIMARY KEY (app, environment, generation),
    FOREIGN KEY (app, environment, release) REFERENCES releases (app, environment, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX rollouts_of_deploy ON rollouts (deploy);

CREATE INDEX rollouts_of_release ON rollouts (app, environment, release);

-- At most one rollout of an environment is not over.
CREATE UNIQUE INDEX open_rollouts ON rollouts (app, environment) WHERE step NOT IN ('done', 'failed');

CREATE TABLE groups (
    app         TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    generation  INTEGER NOT NULL,
    process     TEXT    NOT NULL,
    release     INTEGER NOT NULL,
    replicas    INTEGER NOT NULL,
    artifact    TEXT    NOT NULL,
    template    TEXT    NOT NULL, -- JSON: Template
    PRIMARY KEY (app, environment, generation, process, release),
    FOREIGN KEY (app, environment, release) REFERENCES releases (app, environment, number)
) STRICT;

CREATE INDEX groups_of_release ON groups (app, environment, release);

CREATE TABLE decisions (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    app           TEXT    NOT NULL,
    environment   TEXT    NOT NULL,
    process       TEXT    NOT NULL,
    release       INTEGER NOT NULL,
    generation    INTEGER NOT NULL,
    time          INTEGER NOT NULL,
    replicas_from INTEGER NOT NULL,
    replicas_to   INTEGER NOT NULL,
    sentence      TEXT    NOT NULL,
    inputs        TEXT    NOT NULL, -- JSON: map[string]float64
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
) STRICT;

CREATE INDEX decisions_of_environment ON decisions (app, environment, id);

-- An event may be of no environment: then app and environment are empty.
CREATE TABLE events (
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    time        INTEGER NOT NULL,
    app         TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    message     TEXT    NOT NULL,
    fields      TEXT    NOT NULL -- JSON: map[string]string
) STRICT;

CREATE INDEX events_of_environment ON events (app, environment, sequence);

CREATE TABLE tokens (
    name      TEXT    NOT NULL PRIMARY KEY,
    hash      BLOB    NOT NULL UNIQUE,
    created   INTEGER NOT NULL,
    last_used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: all versions up to this one may have been given to routing tables.
CREATE TABLE table_versions (reserved INTEGER NOT NULL) STRICT;

INSERT INTO table_versions (reserved) VALUES (0);
