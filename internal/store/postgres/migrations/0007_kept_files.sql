-- Files of the data folder that all control planes of this store need, sealed.
CREATE TABLE kept_files (
    name    TEXT COLLATE "C" PRIMARY KEY,
    content BYTEA NOT NULL
);
