-- oldest: 1
-- Where operations come from, and versions of a workflow side by side. A program that knows nothing of either goes on:
-- it finds the lines that it knows by their index all the same.

ALTER TABLE motet.history ADD COLUMN site text COLLATE "C";  -- where in the source an operation was created

-- A line is what waits in one queue for one version of a workflow at one priority.
DROP INDEX motet.run_due;
CREATE INDEX run_due ON motet.run (queue, workflow, version, priority, wake_at)
    WHERE owner IS NULL AND wake_at IS NOT NULL;

DROP INDEX motet.run_blocked;
CREATE INDEX run_blocked ON motet.run (workflow, version) WHERE state = 'blocked';

-- Which versions a living worker has.
CREATE TABLE motet.knows (
    worker bigint NOT NULL,
    workflow text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (worker, workflow, version)
);

ALTER TABLE motet.run ADD COLUMN origin text COLLATE "C";  -- of a rerun: whose history it keeps, as JSON
