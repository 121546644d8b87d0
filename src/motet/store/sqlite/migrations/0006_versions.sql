-- Versions of a workflow side by side: a run is for workers that have the version that it began with.

-- A line is what waits in one queue for one version of a workflow at one priority.
DROP INDEX run_due;
CREATE INDEX run_due ON run (queue, workflow, version, priority, wake_at) WHERE owner IS NULL AND wake_at IS NOT NULL;

DROP INDEX run_blocked;
CREATE INDEX run_blocked ON run (workflow, version) WHERE state = 'blocked';

-- Which versions a living worker has.
CREATE TABLE knows (
    worker INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (worker, workflow, version)
) STRICT, WITHOUT ROWID;

ALTER TABLE run ADD COLUMN origin TEXT;  -- of a rerun: whose history it keeps, as JSON
