-- Letting go of what is over, and keeping secrets.

-- What is left of a run that was pruned: its id can start nothing twice.
CREATE TABLE tombstone (
    id TEXT PRIMARY KEY,
    uid TEXT NOT NULL,
    workflow TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    conversation TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    pruned_at INTEGER NOT NULL,
    digest TEXT                                -- of the input, salted and perhaps keyed; NULL: not known any more
) STRICT, WITHOUT ROWID;

CREATE INDEX tombstone_conversation ON tombstone (conversation);

-- The keys under which payloads are encrypted, by their names; never a key itself.
CREATE TABLE sealing (
    key TEXT PRIMARY KEY,
    proof TEXT NOT NULL,                       -- by which a key is known again
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
