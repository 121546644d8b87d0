"""What is wrong or risky with a store in PostgreSQL, for `motet doctor`."""

from __future__ import annotations

from motet.model.clock import SECOND, Micros
from motet.store.postgres.link import Link
from motet.store.postgres_address import Address

LONG_MINUTES = 10
MUCH = 1_000
LATE_SECONDS = 60

SETTINGS = """SELECT current_setting('synchronous_commit'), current_setting('fsync'),
    current_setting('full_page_writes'),
    current_setting('max_connections')::integer, (SELECT count(*) FROM pg_stat_activity)::integer"""
LONG = f"""SELECT count(*)::integer, max(extract(epoch FROM now() - xact_start))::integer FROM pg_stat_activity
    WHERE datname = current_database() AND xact_start < now() - interval '{LONG_MINUTES} minutes'"""
INVALID = """SELECT string_agg(indexrelid::regclass::text, ', ') FROM pg_index
    JOIN pg_class ON pg_class.oid = indrelid WHERE relnamespace = 'motet'::regnamespace AND NOT indisvalid"""
OUTBOX = "SELECT count(*)::integer, min(recorded_at) FROM motet.outbox"


async def findings(link: Link, address: Address, now: Micros) -> list[str]:
    """In words, with the way out; empty when all is well."""
    found: list[str] = []
    row = await link.row(SETTINGS)
    assert row is not None
    synchronous, fsync, full_pages, most, there = row
    if fsync == "off" or full_pages == "off":
        found.append(
            f"fsync is {fsync} and full_page_writes {full_pages}: a power cut loses or corrupts what was acknowledged; "
            "set both to on"
        )
    if synchronous == "off":
        found.append("synchronous_commit is off for this user; Motet's own commits wait for the disk all the same")
    if there > most * 0.8:
        found.append(
            f"{there} of {most} connections are in use; a worker takes 3 to 6: raise max_connections, or use a pooler"
        )
    if address.pooled:
        found.append("behind a pooler there is no LISTEN: what others commit is noticed in a tenth of a second")
    count, seconds = await _row(link, LONG)
    if count:
        found.append(
            f"{count} transactions have been open for up to {seconds // 60} minutes: what they may still see cannot be "
            "cleaned up, and everything gets slower; end them (pg_stat_activity tells whose they are)"
        )
    if invalid := await link.value(INVALID):
        found.append(f"indexes are not valid: {invalid}; REINDEX INDEX CONCURRENTLY repairs one")
    count, oldest = await _row(link, OUTBOX)
    if count > MUCH or (count and now - oldest > LATE_SECONDS * SECOND):
        found.append(f"{count} events stand in the outbox, the first for long: is any worker running?")
    return found


async def _row(link: Link, sql: str) -> tuple[int, int]:
    row = await link.row(sql)
    assert row is not None
    return row[0], row[1]
