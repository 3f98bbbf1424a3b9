-- What happens to runs and schedules, in order. A transaction that was undone
-- leaves nothing here.
CREATE TABLE IF NOT EXISTS springtide.audit_runs (
    seq     BIGSERIAL PRIMARY KEY,
    run     BIGINT NOT NULL,
    state   TEXT   NOT NULL,
    attempt BIGINT NOT NULL,
    fence   BIGINT NOT NULL,
    settled BIGINT NOT NULL,
    verdict TEXT   NOT NULL,
    result  TEXT   NOT NULL,
    at      BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS springtide.audit_schedules (
    seq         BIGSERIAL PRIMARY KEY,
    tx          BIGINT  NOT NULL,
    environment BIGINT  NOT NULL,
    name        TEXT    NOT NULL,
    spec        TEXT    NOT NULL,
    gone        BOOLEAN NOT NULL,
    next_slot   BIGINT  NOT NULL,
    last_slot   BIGINT  NOT NULL,
    calendar    BIGINT  NOT NULL
);

CREATE OR REPLACE FUNCTION springtide.audit_run() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO springtide.audit_runs (run, state, attempt, fence, settled, verdict, result, at)
    VALUES (NEW.id, NEW.state, NEW.attempt, NEW.fence, NEW.settled, NEW.verdict, NEW.result, extract(epoch FROM clock_timestamp()) * 1000000);
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION springtide.audit_deleted_run() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO springtide.audit_runs (run, state, attempt, fence, settled, verdict, result, at)
    VALUES (OLD.id, 'deleted', OLD.attempt, OLD.fence, OLD.settled, OLD.verdict, OLD.result, extract(epoch FROM clock_timestamp()) * 1000000);
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION springtide.audit_schedule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO springtide.audit_schedules (tx, environment, name, spec, gone, next_slot, last_slot, calendar)
    SELECT txid_current(), NEW.environment, NEW.name, NEW.spec, NEW.gone, NEW.next_slot, NEW.last_slot, calendar FROM springtide.clock;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER audit_made AFTER INSERT ON springtide.runs FOR EACH ROW EXECUTE FUNCTION springtide.audit_run();
CREATE OR REPLACE TRIGGER audit_moved AFTER UPDATE ON springtide.runs FOR EACH ROW
    WHEN (ROW(OLD.state, OLD.attempt, OLD.fence, OLD.settled, OLD.verdict, OLD.result)
        IS DISTINCT FROM ROW(NEW.state, NEW.attempt, NEW.fence, NEW.settled, NEW.verdict, NEW.result))
    EXECUTE FUNCTION springtide.audit_run();
CREATE OR REPLACE TRIGGER audit_deleted AFTER DELETE ON springtide.runs FOR EACH ROW EXECUTE FUNCTION springtide.audit_deleted_run();
CREATE OR REPLACE TRIGGER audit_set AFTER INSERT ON springtide.schedules FOR EACH ROW EXECUTE FUNCTION springtide.audit_schedule();
CREATE OR REPLACE TRIGGER audit_changed AFTER UPDATE ON springtide.schedules FOR EACH ROW
    WHEN (ROW(OLD.spec, OLD.gone) IS DISTINCT FROM ROW(NEW.spec, NEW.gone))
    EXECUTE FUNCTION springtide.audit_schedule();
