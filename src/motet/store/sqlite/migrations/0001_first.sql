-- Everything durable, in one file. Times are microseconds since 1970 in UTC; payloads are JSON text. STRICT: a number
-- where text belongs, or the other way round, is refused whoever writes it.

CREATE TABLE schema (version INTEGER NOT NULL) STRICT;

CREATE TABLE worker (
    id INTEGER PRIMARY KEY AUTOINCREMENT,      -- grows for ever: a later worker is a larger number
    identity TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    pid_started INTEGER NOT NULL,
    program TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    batch INTEGER NOT NULL DEFAULT 0,          -- fence, lock, heartbeat and receipt are this one number
    buried INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;

CREATE INDEX worker_alive ON worker (id) WHERE buried = 0;

-- Clients have no worker's row to keep a receipt in: a batch of theirs brings a ticket, and the latest are kept.
CREATE TABLE ticket (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE run (
    uid TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    workflow TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    generation INTEGER NOT NULL,
    epoch INTEGER NOT NULL,                    -- how often it has changed owners: the fencing token of its effects
    owner INTEGER,
    input TEXT,
    result TEXT,
    error TEXT,
    current TEXT,
    note TEXT,
    attributes TEXT,
    conversation TEXT NOT NULL,
    cause TEXT,
    parent TEXT,
    created_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    deadline_at INTEGER,
    wake_at INTEGER,
    crashes INTEGER NOT NULL,
    parked TEXT,
    python TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    first_input TEXT
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX run_id ON run (id);
CREATE INDEX run_owner ON run (owner) WHERE owner IS NOT NULL;
CREATE INDEX run_due ON run (wake_at) WHERE owner IS NULL AND wake_at IS NOT NULL;
CREATE INDEX run_blocked ON run (workflow) WHERE state = 'blocked';

CREATE TABLE history (
    uid TEXT NOT NULL,
    generation INTEGER NOT NULL,
    position INTEGER NOT NULL,
    applied INTEGER NOT NULL,
    op TEXT NOT NULL,
    operation_kind TEXT NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    payload TEXT,
    attempt INTEGER NOT NULL,
    started_at INTEGER,
    due INTEGER,
    digest INTEGER,
    target TEXT,
    PRIMARY KEY (uid, generation, position)
) STRICT, WITHOUT ROWID;

-- The log. No unique index on the id: identities and the worker's receipt already keep events from doubling.
CREATE TABLE event (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    source TEXT NOT NULL,
    type TEXT NOT NULL,
    subject TEXT,
    time INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    correlationid TEXT NOT NULL,
    causationid TEXT,
    data TEXT NOT NULL
) STRICT;

CREATE TABLE inbox (
    uid TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (uid, key)
) STRICT, WITHOUT ROWID;

-- What workers' code says of its workflows, so that status can speak of steps that are still ahead.
CREATE TABLE catalog (
    workflow TEXT NOT NULL,
    version INTEGER NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (workflow, version)
) STRICT, WITHOUT ROWID;
