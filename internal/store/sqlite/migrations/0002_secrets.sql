-- Keys that secrets are sealed with, each sealed by the platform's root key. The
-- one without an environment is the platform's own.
CREATE TABLE secret_keys (
    app         TEXT NOT NULL,
    environment TEXT NOT NULL,
    sealed      BLOB NOT NULL,
    PRIMARY KEY (app, environment)
) STRICT, WITHOUT ROWID;

-- Versions never change. One without a value says that the secret was unset.
CREATE TABLE secrets (
    app         TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    sealed      BLOB    NOT NULL,
    created     INTEGER NOT NULL,
    PRIMARY KEY (app, environment, name, version),
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

ALTER TABLE releases ADD COLUMN secrets TEXT NOT NULL DEFAULT 'null'; -- JSON: map[SecretName]int
