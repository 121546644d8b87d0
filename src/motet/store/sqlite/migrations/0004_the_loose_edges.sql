-- The loose edges: what events carry beside their data, how far each reader of the log has come, who waits for what.

ALTER TABLE event ADD COLUMN version INTEGER NOT NULL DEFAULT 1;  -- of the data's shape
ALTER TABLE event ADD COLUMN recipient TEXT;                      -- the id of the only run that may hear of it
ALTER TABLE event ADD COLUMN traceparent TEXT;
CREATE INDEX event_conversation ON event (correlationid);

ALTER TABLE run ADD COLUMN since INTEGER NOT NULL DEFAULT 0;      -- the log's head when the run was started
ALTER TABLE run ADD COLUMN consumed TEXT;                         -- what earlier generations have waited for and got
ALTER TABLE run ADD COLUMN traceparent TEXT;
CREATE INDEX run_conversation ON run (conversation);

-- Ids given by publishers from outside, for a while: the same again publishes nothing.
CREATE TABLE published (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX published_at ON published (at);

-- One row for each reaction and expectation: everything up to its position has been dealt with, or has a row of its own.
CREATE TABLE cursor (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL,                        -- reaction or expectation
    position INTEGER NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,          -- how often it has changed owners, or was moved by a person
    owner INTEGER,
    paused INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,        -- of its owners, since it last got on
    definition TEXT NOT NULL,                  -- what the code says of it, as JSON
    delivered INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,         -- attempts
    created_at INTEGER NOT NULL,
    moved_at INTEGER NOT NULL,
    touched INTEGER NOT NULL DEFAULT 0         -- how often a person has changed what it had left behind
) STRICT, WITHOUT ROWID;

CREATE INDEX cursor_owner ON cursor (owner);

-- Deliveries that are not simply in order: done ahead of the cursor, or left behind by it.
CREATE TABLE delivery (
    reaction TEXT NOT NULL,
    position INTEGER NOT NULL,
    state TEXT NOT NULL,
    key TEXT,
    attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    due INTEGER,
    error TEXT,
    data TEXT,                                 -- what a person has put in the place of the event's own data
    at INTEGER NOT NULL,
    PRIMARY KEY (reaction, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX delivery_done ON delivery (reaction, position) WHERE state = 'done';

-- What is expected after a trigger; the position is the trigger's, or 0 for what came without one.
CREATE TABLE expected (
    expectation TEXT NOT NULL,
    key TEXT NOT NULL,
    position INTEGER NOT NULL,
    state TEXT NOT NULL,                       -- early, open, met, missed or late
    event TEXT NOT NULL,                       -- the trigger's id
    conversation TEXT NOT NULL,
    armed_at INTEGER NOT NULL,                 -- the trigger's own time
    due INTEGER,                               -- by what it was judged; while it is open, the code says
    triggers INTEGER NOT NULL,                 -- with those that came later and armed nothing
    early INTEGER NOT NULL,                    -- expected events that came before the trigger
    came_at INTEGER,                           -- the expected event's own time
    came TEXT,                                 -- its id
    missed_at INTEGER,
    PRIMARY KEY (expectation, key, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX expected_open ON expected (expectation, armed_at) WHERE state = 'open';
CREATE INDEX expected_unsettled ON expected (expectation, key, position) WHERE state IN ('early', 'open', 'missed');
CREATE INDEX expected_conversation ON expected (conversation);

-- Runs that wait for an event. Of the types that are waited for, events can be found by their key.
CREATE TABLE wait (
    uid TEXT NOT NULL,
    op TEXT NOT NULL,                          -- generation and operation
    type TEXT NOT NULL,
    key TEXT NOT NULL,
    after INTEGER NOT NULL,                    -- events up to here do not count
    taken INTEGER,                             -- the position of the event that it has got
    PRIMARY KEY (uid, op, type)
) STRICT, WITHOUT ROWID;

CREATE INDEX wait_for ON wait (type, key) WHERE taken IS NULL;

CREATE TABLE waited_type (
    type TEXT PRIMARY KEY,
    since INTEGER NOT NULL                     -- events behind this position are in event_key
) STRICT, WITHOUT ROWID;

CREATE TABLE event_key (
    type TEXT NOT NULL,
    key TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (type, key, position)
) STRICT, WITHOUT ROWID;
