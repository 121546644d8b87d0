-- Counting what is open without walking through what has ended.

-- What nobody drives, for those who count: runs that are driven all the way, and those that have ended, are not in it.
-- The last two are always NULL; without them SQLite would look into each row to see that.
CREATE INDEX run_resting ON run (state, wake_at, owner, ended_at) WHERE owner IS NULL AND ended_at IS NULL;
