-- The earliest slot of a schedule is found however many wait.
DROP INDEX runs_waiting;
DROP INDEX runs_open_of_schedule;
CREATE INDEX runs_waiting ON runs (environment, schedule, slot) WHERE state = 'waiting';
CREATE INDEX runs_open_of_schedule ON runs (environment, schedule, slot)
    WHERE schedule <> '' AND state IN ('scheduled', 'waiting', 'available', 'claimed', 'running');
