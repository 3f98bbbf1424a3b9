-- The tables are those of package sqlite, and a file has the number of the one
-- there after which both are alike.
--
-- Times are UTC in nanoseconds since 1970, 0 for none. Columns called JSON hold
-- a Go value of the vocabulary as encoding/json writes it; whatever a query
-- selects or orders by has a column of its own. Names are in the order of their
-- bytes, whatever the database's language.

-- One row, which whoever writes locks first: so writes come one after the other.
-- Who leads has the newest token, and shows that he lives by the beats.
CREATE TABLE leadership (
    holder TEXT   NOT NULL,
    token  BIGINT NOT NULL,
    beats  BIGINT NOT NULL
);

INSERT INTO leadership VALUES ('', 0, 0);

CREATE TABLE environments (
    app         TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    created     BIGINT  NOT NULL,
    active      BIGINT  NOT NULL DEFAULT 0,
    generation  BIGINT  NOT NULL DEFAULT 0,
    stopped     BOOLEAN NOT NULL DEFAULT FALSE,
    config      TEXT    NOT NULL DEFAULT 'null', -- JSON: map[string]string
    scale       TEXT    NOT NULL DEFAULT 'null', -- JSON: map[ProcessName]ScaleRange
    maintenance TEXT    NOT NULL DEFAULT 'null', -- JSON: *Maintenance
    occasions   TEXT    NOT NULL DEFAULT 'null', -- JSON: []Occasion
    PRIMARY KEY (app, name)
);

-- The last numbers that were given. A row outlives its environment, so that no
-- number is ever given twice.
CREATE TABLE counters (
    app         TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    release     BIGINT NOT NULL DEFAULT 0,
    generation  BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (app, environment)
);

-- A domain has one owner, for at least one of two reasons: it was added by
-- hand, or the manifest of a release names it.
CREATE TABLE domains (
    domain      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    app         TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    by_hand     BOOLEAN NOT NULL DEFAULT FALSE,
    by_manifest BOOLEAN NOT NULL DEFAULT FALSE,
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
);

CREATE INDEX domains_of_environment ON domains (app, environment);

CREATE TABLE releases (
    app         TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    number      BIGINT NOT NULL,
    artifact    TEXT COLLATE "C" NOT NULL,
    manifest    TEXT   NOT NULL, -- JSON: App
    config      TEXT   NOT NULL, -- JSON: map[string]string
    secrets     TEXT   NOT NULL DEFAULT 'null', -- JSON: map[SecretName]int
    description TEXT   NOT NULL,
    created     BIGINT NOT NULL,
    state       TEXT   NOT NULL,
    reason      TEXT   NOT NULL DEFAULT '',
    PRIMARY KEY (app, environment, number),
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
);

CREATE TABLE rollouts (
    app         TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    generation  BIGINT NOT NULL,
    release     BIGINT NOT NULL,
    step        TEXT   NOT NULL,
    previous    TEXT   NOT NULL, -- JSON: []GroupID
    deploy      TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    started     BIGINT NOT NULL,
    updated     BIGINT NOT NULL,
    switched    BIGINT NOT NULL,
    PRIMARY KEY (app, environment, generation),
    FOREIGN KEY (app, environment, release) REFERENCES releases (app, environment, number) ON DELETE CASCADE
);

CREATE INDEX rollouts_of_deploy ON rollouts (deploy);

CREATE INDEX rollouts_of_release ON rollouts (app, environment, release);

-- At most one rollout of an environment is not over.
CREATE UNIQUE INDEX open_rollouts ON rollouts (app, environment) WHERE step NOT IN ('done', 'failed');

CREATE TABLE groups (
    app         TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    generation  BIGINT NOT NULL,
    process     TEXT COLLATE "C" NOT NULL,
    release     BIGINT NOT NULL,
    replicas    BIGINT NOT NULL,
    artifact    TEXT COLLATE "C" NOT NULL,
    template    TEXT   NOT NULL, -- JSON: Template
    PRIMARY KEY (app, environment, generation, process, release),
    FOREIGN KEY (app, environment, release) REFERENCES releases (app, environment, number)
);

CREATE INDEX groups_of_release ON groups (app, environment, release);

CREATE TABLE decisions (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app           TEXT COLLATE "C" NOT NULL,
    environment   TEXT COLLATE "C" NOT NULL,
    process       TEXT   NOT NULL,
    release       BIGINT NOT NULL,
    generation    BIGINT NOT NULL,
    time          BIGINT NOT NULL,
    replicas_from BIGINT NOT NULL,
    replicas_to   BIGINT NOT NULL,
    sentence      TEXT   NOT NULL,
    inputs        TEXT   NOT NULL, -- JSON: map[string]float64
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
);

CREATE INDEX decisions_of_environment ON decisions (app, environment, id);

-- An event may be of no environment: then app and environment are empty.
CREATE TABLE events (
    sequence    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time        BIGINT NOT NULL,
    app         TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    kind        TEXT   NOT NULL,
    message     TEXT   NOT NULL,
    fields      TEXT   NOT NULL -- JSON: map[string]string
);

CREATE INDEX events_of_environment ON events (app, environment, sequence);

CREATE TABLE tokens (
    name      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    hash      BYTEA  NOT NULL UNIQUE,
    created   BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);

-- One row: all versions up to this one may have been given to routing tables.
CREATE TABLE table_versions (reserved BIGINT NOT NULL);

INSERT INTO table_versions (reserved) VALUES (0);

-- Keys that secrets are sealed with, each sealed by the platform's root key. The
-- one without an environment is the platform's own.
CREATE TABLE secret_keys (
    app         TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    sealed      BYTEA NOT NULL,
    PRIMARY KEY (app, environment)
);

-- Versions never change. One without a value says that the secret was unset.
CREATE TABLE secrets (
    app         TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    version     BIGINT NOT NULL,
    sealed      BYTEA  NOT NULL,
    created     BIGINT NOT NULL,
    PRIMARY KEY (app, environment, name, version),
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
);

-- The demand of a process, an hour a row; what minutes holds is packed by package demand.
CREATE TABLE demand (
    app         TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    process     TEXT COLLATE "C" NOT NULL,
    hour        BIGINT NOT NULL, -- since 1970
    minutes     BYTEA  NOT NULL,
    PRIMARY KEY (app, environment, process, hour),
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
);

-- What instances of a process used, as histograms of package demand.
CREATE TABLE usage (
    app         TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    process     TEXT COLLATE "C" NOT NULL,
    seen        BYTEA NOT NULL,
    PRIMARY KEY (app, environment, process),
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
);

-- What edges were told to forget of their caches; the newest.
CREATE TABLE purges (
    number      BIGINT PRIMARY KEY,
    app         TEXT NOT NULL,
    environment TEXT NOT NULL,
    tag         TEXT NOT NULL,
    path        TEXT NOT NULL
);
