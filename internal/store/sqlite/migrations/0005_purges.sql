-- What edges were told to forget of their caches; the newest.
CREATE TABLE purges (
    number      INTEGER PRIMARY KEY,
    app         TEXT NOT NULL,
    environment TEXT NOT NULL,
    tag         TEXT NOT NULL,
    path        TEXT NOT NULL
) STRICT;
