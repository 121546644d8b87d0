-- oldest: 3
-- Letting go of what is over, and keeping secrets. A program that knows of neither tombstones nor keys would start what was
-- pruned, and write in the clear: it goes no further.

-- What is left of a run that was pruned: its id can start nothing twice.
CREATE TABLE motet.tombstone (
    id text COLLATE "C" PRIMARY KEY,
    uid text COLLATE "C" NOT NULL,
    workflow text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    state text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    ended_at bigint NOT NULL,
    pruned_at bigint NOT NULL,
    digest text COLLATE "C"                    -- of the input, salted and perhaps keyed; NULL: not known any more
);

CREATE INDEX tombstone_conversation ON motet.tombstone (conversation);

-- The keys under which payloads are encrypted, by their names; never a key itself.
CREATE TABLE motet.sealing (
    key text COLLATE "C" PRIMARY KEY,
    proof text COLLATE "C" NOT NULL,           -- by which a key is known again
    since bigint NOT NULL
);
