-- oldest: 1
-- Everything durable, in a schema of its own, so that a database with tables of its user's can take a store too. Times
-- are microseconds since 1970 in UTC; payloads are JSON text, kept byte for byte. All text is compared by its bytes,
-- whatever the database's collation: two ids are one only if they are the same, and order is the same everywhere.

CREATE TABLE motet.schema (
    version integer NOT NULL,
    oldest integer NOT NULL,                   -- the oldest schema whose programs may go on with this one
    identity text NOT NULL                     -- random: which store this is
);

CREATE TABLE motet.worker (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- grows for ever: a later worker is a larger number
    identity text COLLATE "C" NOT NULL UNIQUE,
    name text COLLATE "C" NOT NULL,
    host text COLLATE "C" NOT NULL,
    pid bigint NOT NULL,
    pid_started bigint NOT NULL,
    program text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    batch bigint NOT NULL DEFAULT 0,           -- fence, lock, heartbeat and receipt are this one number
    buried boolean NOT NULL DEFAULT false,
    started_at bigint NOT NULL,
    seen_at bigint NOT NULL,
    beats bigint NOT NULL DEFAULT 0,           -- batch + beats is the counter that others watch
    state text COLLATE "C" NOT NULL DEFAULT 'running'  -- or draining: it takes nothing new
) WITH (fillfactor = 20);                      -- written with each batch: room for that in the same page

CREATE INDEX worker_alive ON motet.worker (id) WHERE NOT buried;

-- Clients have no worker's row to keep a receipt in: a batch of theirs brings a ticket, and the latest are kept.
CREATE TABLE motet.ticket (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE motet.run (
    uid text COLLATE "C" PRIMARY KEY,
    id text COLLATE "C" NOT NULL,
    workflow text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    state text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    epoch bigint NOT NULL,                     -- how often it has changed owners: the fencing token of its effects
    owner bigint,
    input text COLLATE "C",
    result text COLLATE "C",
    error text COLLATE "C",
    current text COLLATE "C",
    note text COLLATE "C",
    attributes text COLLATE "C",
    conversation text COLLATE "C" NOT NULL,
    cause text COLLATE "C",
    parent text COLLATE "C",
    created_at bigint NOT NULL,
    started_at bigint NOT NULL,
    ended_at bigint,
    deadline_at bigint,
    wake_at bigint,
    crashes bigint NOT NULL,
    parked text COLLATE "C",
    python text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    first_input text COLLATE "C",
    queue text COLLATE "C" NOT NULL DEFAULT 'default',
    priority bigint NOT NULL DEFAULT 0,
    since bigint NOT NULL DEFAULT 0,           -- the log's head when the run was started
    consumed text COLLATE "C",                 -- what earlier generations have waited for and got
    traceparent text COLLATE "C"
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE UNIQUE INDEX run_id ON motet.run (id);
CREATE INDEX run_blocked ON motet.run (workflow) WHERE state = 'blocked';
CREATE INDEX run_conversation ON motet.run (conversation);

-- A line is what waits in one queue for one workflow at one priority. Whoever looks for work jumps from the head of
-- one line to the head of the next, so that it never walks past what is not due or what it does not know.
CREATE INDEX run_due ON motet.run (queue, workflow, priority, wake_at) WHERE owner IS NULL AND wake_at IS NOT NULL;

-- The places that a queue's runs hold are counted worker by worker.
CREATE INDEX run_owner ON motet.run (owner, queue) WHERE owner IS NOT NULL;

-- What nobody drives, for those who count: runs that are driven all the way, and those that have ended, are not in it.
CREATE INDEX run_resting ON motet.run (state, wake_at) WHERE owner IS NULL AND ended_at IS NULL;

CREATE TABLE motet.history (
    uid text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    position bigint NOT NULL,
    applied bigint NOT NULL,
    op text COLLATE "C" NOT NULL,
    operation_kind text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    payload text COLLATE "C",
    attempt bigint NOT NULL,
    started_at bigint,
    due bigint,
    digest bigint,
    target text COLLATE "C",
    PRIMARY KEY (uid, generation, position)
);

-- The log. Positions are given under its lock, one above the last row's; so whoever prunes it leaves the last row. No
-- unique index on the id: identities and the worker's receipt already keep events from doubling.
CREATE TABLE motet.event (
    position bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    subject text COLLATE "C",
    time bigint NOT NULL,
    recorded_at bigint NOT NULL,
    correlationid text COLLATE "C" NOT NULL,
    causationid text COLLATE "C",
    data text COLLATE "C" NOT NULL,
    version bigint NOT NULL DEFAULT 1,         -- of the data's shape
    recipient text COLLATE "C",                -- the id of the only run that may hear of it
    traceparent text COLLATE "C"
);

CREATE INDEX event_conversation ON motet.event (correlationid, position);

-- Published in a transaction of the user's, which cannot take the log's lock for as long as that lasts: whoever takes
-- it next moves these into the log, the oldest first.
CREATE TABLE motet.outbox (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    subject text COLLATE "C",
    time bigint NOT NULL,
    recorded_at bigint NOT NULL,
    correlationid text COLLATE "C" NOT NULL CHECK (octet_length(correlationid) <= 2048),  -- what its index can hold
    causationid text COLLATE "C",
    data text COLLATE "C" NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    recipient text COLLATE "C",
    traceparent text COLLATE "C"
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE motet.inbox (
    uid text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    payload text COLLATE "C",
    at bigint NOT NULL,
    PRIMARY KEY (uid, key)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What workers' code says of its workflows, so that status can speak of steps that are still ahead.
CREATE TABLE motet.catalog (
    workflow text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    data text COLLATE "C" NOT NULL,
    PRIMARY KEY (workflow, version)
);

-- How many runs of a queue are driven at the same time, by all workers together; NULL: no limit.
CREATE TABLE motet.queue (
    name text COLLATE "C" PRIMARY KEY,
    concurrency bigint
);

-- Ids given by publishers from outside, for a while: the same again publishes nothing.
CREATE TABLE motet.published (
    id text COLLATE "C" PRIMARY KEY,
    at bigint NOT NULL
);

CREATE INDEX published_at ON motet.published (at);

-- One row for each reaction and expectation: everything up to its position has been dealt with, or has a row of its own.
CREATE TABLE motet.cursor (
    name text COLLATE "C" PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,            -- reaction or expectation
    position bigint NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,           -- how often it has changed owners, or was moved by a person
    owner bigint,
    paused boolean NOT NULL DEFAULT false,
    crashes bigint NOT NULL DEFAULT 0,         -- of its owners, since it last got on
    definition text COLLATE "C" NOT NULL,      -- what the code says of it, as JSON
    delivered bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,          -- attempts
    created_at bigint NOT NULL,
    moved_at bigint NOT NULL,
    touched bigint NOT NULL DEFAULT 0          -- how often a person has changed what it had left behind
) WITH (fillfactor = 20);

CREATE INDEX cursor_owner ON motet.cursor (owner);

-- Deliveries that are not simply in order: done ahead of the cursor, or left behind by it.
CREATE TABLE motet.delivery (
    reaction text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    state text COLLATE "C" NOT NULL,
    key text COLLATE "C",
    attempts bigint NOT NULL,
    crashes bigint NOT NULL,
    due bigint,
    error text COLLATE "C",
    data text COLLATE "C",                     -- what a person has put in the place of the event's own data
    at bigint NOT NULL,
    PRIMARY KEY (reaction, position)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

CREATE INDEX delivery_done ON motet.delivery (reaction, position) WHERE state = 'done';

-- What is expected after a trigger; the position is the trigger's, or 0 for what came without one.
CREATE TABLE motet.expected (
    expectation text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    state text COLLATE "C" NOT NULL,           -- early, open, met, missed or late
    event text COLLATE "C" NOT NULL,           -- the trigger's id
    conversation text COLLATE "C" NOT NULL,
    armed_at bigint NOT NULL,                  -- the trigger's own time
    due bigint,                                -- by what it was judged; while it is open, the code says
    triggers bigint NOT NULL,                  -- with those that came later and armed nothing
    early bigint NOT NULL,                     -- expected events that came before the trigger
    came_at bigint,                            -- the expected event's own time
    came text COLLATE "C",                     -- its id
    missed_at bigint,
    PRIMARY KEY (expectation, key, position)
);

CREATE INDEX expected_open ON motet.expected (expectation, armed_at) WHERE state = 'open';
CREATE INDEX expected_unsettled ON motet.expected (expectation, key, position)
    WHERE state IN ('early', 'open', 'missed');
CREATE INDEX expected_missed ON motet.expected (expectation) WHERE state = 'missed';
CREATE INDEX expected_conversation ON motet.expected (conversation);

-- Runs that wait for an event. Of the types that are waited for, events can be found by their key. All three are
-- written under the log's lock only.
CREATE TABLE motet.wait (
    uid text COLLATE "C" NOT NULL,
    op text COLLATE "C" NOT NULL,              -- generation and operation
    type text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    after bigint NOT NULL,                     -- events up to here do not count
    taken bigint,                              -- the position of the event that it has got
    PRIMARY KEY (uid, op, type)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

CREATE INDEX wait_for ON motet.wait (type, key) WHERE taken IS NULL;

CREATE TABLE motet.waited_type (
    type text COLLATE "C" PRIMARY KEY,
    since bigint NOT NULL                      -- events behind this position are in event_key
);

CREATE TABLE motet.event_key (
    type text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (type, key, position)
);
