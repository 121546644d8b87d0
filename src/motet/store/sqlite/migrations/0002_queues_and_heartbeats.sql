-- Queues with limits and priorities; a heartbeat beside the batches, and whether a worker takes new runs.

ALTER TABLE run ADD COLUMN queue TEXT NOT NULL DEFAULT 'default';
ALTER TABLE run ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;

-- How many runs of a queue are driven at the same time, by all workers together; NULL: no limit.
CREATE TABLE queue (
    name TEXT PRIMARY KEY,
    concurrency INTEGER
) STRICT, WITHOUT ROWID;

-- A line is what waits in one queue for one workflow at one priority. Whoever looks for work jumps from the head of
-- one line to the head of the next, so that it never walks past what is not due or what it does not know.
DROP INDEX run_due;
CREATE INDEX run_due ON run (queue, workflow, priority, wake_at) WHERE owner IS NULL AND wake_at IS NOT NULL;

-- The places that a queue's runs hold are counted worker by worker.
DROP INDEX run_owner;
CREATE INDEX run_owner ON run (owner, queue) WHERE owner IS NOT NULL;

ALTER TABLE worker ADD COLUMN beats INTEGER NOT NULL DEFAULT 0;  -- batch + beats is the counter that others watch
ALTER TABLE worker ADD COLUMN state TEXT NOT NULL DEFAULT 'running';  -- or draining: it takes nothing new
