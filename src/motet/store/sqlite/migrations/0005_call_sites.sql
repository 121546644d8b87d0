-- Where in the source an operation was created; unknown for what was recorded before.
ALTER TABLE history ADD COLUMN site TEXT;
