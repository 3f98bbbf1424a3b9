ALTER TABLE decisions ADD COLUMN evidence BYTEA; -- all that it was made of, packed by package scale; NULL: not kept

-- What the scaler learnt of a process, as package scale packs it.
CREATE TABLE lessons (
    app         TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    process     TEXT COLLATE "C" NOT NULL,
    learnt      BYTEA NOT NULL,
    PRIMARY KEY (app, environment, process),
    FOREIGN KEY (app, environment) REFERENCES environments (app, name) ON DELETE CASCADE
);
