ALTER TABLE decisions ADD COLUMN evidence BLOB; -- all that it was made of, packed by package scale; NULL: not kept

-- What the scaler learnt of a process, as package scale packs it.
CREATE TABLE lessons (
    app         TEXT NOT NULL,
    environment TEXT NOT NULL,
    process     TEXT NOT NULL,
    learnt      BLOB NOT NULL,
    PRIMARY KEY (app, environment, process),
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
