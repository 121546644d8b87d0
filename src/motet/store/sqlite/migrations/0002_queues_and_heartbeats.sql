-- Queues with limits and priorities; a heartbeat beside the batches, and whether a worker takes new runs.

ALTER TABLE run ADD COLUMN queue TEXT NOT NULL DEFAULT 'default';
ALTER TABLE run ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;

-- How many runs of a queue are driven at the same time, by all workers together; NULL: no limit.
CREATE TABLE queue (
    name TEXT PRIMARY KEY,
    concurrency INTEGER
) STRICT, WITHOUT ROWID;

ALTER TABLE worker ADD COLUMN beats INTEGER NOT NULL DEFAULT 0;  -- batch + beats is the counter that others watch
ALTER TABLE worker ADD COLUMN state TEXT NOT NULL DEFAULT 'running';  -- or draining: it takes nothing new
