-- oldest: 3
-- ANALYZE keeps samples of what columns hold, among the catalogs of the database, where forgetting and encrypting anew do not
-- come: of payloads there are none any more. To give a column the type that it has writes nothing and drops its samples.

ALTER TABLE motet.run
    ALTER COLUMN input TYPE text COLLATE "C", ALTER COLUMN input SET STATISTICS 0,
    ALTER COLUMN first_input TYPE text COLLATE "C", ALTER COLUMN first_input SET STATISTICS 0,
    ALTER COLUMN result TYPE text COLLATE "C", ALTER COLUMN result SET STATISTICS 0,
    ALTER COLUMN error TYPE text COLLATE "C", ALTER COLUMN error SET STATISTICS 0,
    ALTER COLUMN current TYPE text COLLATE "C", ALTER COLUMN current SET STATISTICS 0,
    ALTER COLUMN note TYPE text COLLATE "C", ALTER COLUMN note SET STATISTICS 0,
    ALTER COLUMN attributes TYPE text COLLATE "C", ALTER COLUMN attributes SET STATISTICS 0;

ALTER TABLE motet.history
    ALTER COLUMN payload TYPE text COLLATE "C", ALTER COLUMN payload SET STATISTICS 0,
    ALTER COLUMN digest TYPE bigint, ALTER COLUMN digest SET STATISTICS 0;

ALTER TABLE motet.event
    ALTER COLUMN data TYPE text COLLATE "C", ALTER COLUMN data SET STATISTICS 0;

ALTER TABLE motet.outbox
    ALTER COLUMN data TYPE text COLLATE "C", ALTER COLUMN data SET STATISTICS 0;

ALTER TABLE motet.inbox
    ALTER COLUMN payload TYPE text COLLATE "C", ALTER COLUMN payload SET STATISTICS 0;

ALTER TABLE motet.delivery
    ALTER COLUMN error TYPE text COLLATE "C", ALTER COLUMN error SET STATISTICS 0,
    ALTER COLUMN data TYPE text COLLATE "C", ALTER COLUMN data SET STATISTICS 0;

ALTER TABLE motet.tombstone
    ALTER COLUMN digest TYPE text COLLATE "C", ALTER COLUMN digest SET STATISTICS 0;
