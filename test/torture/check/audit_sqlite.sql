-- As audit_postgres.sql, but that nobody knows the number of a transaction.
CREATE TABLE IF NOT EXISTS audit_runs (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    run     INTEGER NOT NULL,
    state   TEXT    NOT NULL,
    attempt INTEGER NOT NULL,
    fence   INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    verdict TEXT    NOT NULL,
    result  TEXT    NOT NULL,
    at      INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS audit_schedules (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    tx          INTEGER NOT NULL,
    environment INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    spec        TEXT    NOT NULL,
    gone        INTEGER NOT NULL,
    next_slot   INTEGER NOT NULL,
    last_slot   INTEGER NOT NULL,
    calendar    INTEGER NOT NULL
);

CREATE TRIGGER IF NOT EXISTS audit_made AFTER INSERT ON runs BEGIN
    INSERT INTO audit_runs (run, state, attempt, fence, settled, verdict, result, at)
    SELECT NEW.id, NEW.state, NEW.attempt, NEW.fence, NEW.settled, NEW.verdict, NEW.result, last_seen FROM clock;
END;
CREATE TRIGGER IF NOT EXISTS audit_moved AFTER UPDATE ON runs
WHEN (OLD.state, OLD.attempt, OLD.fence, OLD.settled, OLD.verdict, OLD.result)
    <> (NEW.state, NEW.attempt, NEW.fence, NEW.settled, NEW.verdict, NEW.result) BEGIN
    INSERT INTO audit_runs (run, state, attempt, fence, settled, verdict, result, at)
    SELECT NEW.id, NEW.state, NEW.attempt, NEW.fence, NEW.settled, NEW.verdict, NEW.result, last_seen FROM clock;
END;
CREATE TRIGGER IF NOT EXISTS audit_deleted AFTER DELETE ON runs BEGIN
    INSERT INTO audit_runs (run, state, attempt, fence, settled, verdict, result, at)
    SELECT OLD.id, 'deleted', OLD.attempt, OLD.fence, OLD.settled, OLD.verdict, OLD.result, last_seen FROM clock;
END;
CREATE TRIGGER IF NOT EXISTS audit_set AFTER INSERT ON schedules BEGIN
    INSERT INTO audit_schedules (tx, environment, name, spec, gone, next_slot, last_slot, calendar)
    SELECT 0, NEW.environment, NEW.name, NEW.spec, NEW.gone, NEW.next_slot, NEW.last_slot, calendar FROM clock;
END;
CREATE TRIGGER IF NOT EXISTS audit_changed AFTER UPDATE ON schedules WHEN (OLD.spec, OLD.gone) <> (NEW.spec, NEW.gone) BEGIN
    INSERT INTO audit_schedules (tx, environment, name, spec, gone, next_slot, last_slot, calendar)
    SELECT 0, NEW.environment, NEW.name, NEW.spec, NEW.gone, NEW.next_slot, NEW.last_slot, calendar FROM clock;
END;
