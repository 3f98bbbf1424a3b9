CREATE TABLE keys (
    name   TEXT   PRIMARY KEY,
    secret BYTEA  NOT NULL
);
