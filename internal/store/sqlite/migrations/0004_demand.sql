ALTER TABLE environments ADD COLUMN occasions TEXT NOT NULL DEFAULT 'null'; -- JSON: []Occasion

-- The demand of a process, an hour a row; what minutes holds is packed by package demand.
CREATE TABLE demand (
    app         TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    process     TEXT    NOT NULL,
    hour        INTEGER NOT NULL, -- since 1970
    minutes     BLOB    NOT NULL,
    PRIMARY KEY (app, environment, process, hour),
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- What instances of a process used, as histograms of package demand.
CREATE TABLE usage (
    app         TEXT NOT NULL,
    environment TEXT NOT NULL,
    process     TEXT NOT NULL,
    seen        BLOB NOT NULL,
    PRIMARY KEY (app, environment, process),
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
