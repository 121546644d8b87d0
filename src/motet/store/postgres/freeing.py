"""Sessions whose client stands still in the middle of a transaction, and holds what all others wait for.

A session that waits for its client's next command is ended by the server (`idle_in_transaction_session_timeout`). One
that waits for the rest of a command is not: drivers send a statement's text, ask for the answer so far, and send its
values behind it. A process that is stopped in between, or in the middle of a large message, would keep its locks for
as long as it is; nobody could bury it, or write to the log.

Only sessions of workers and of whoever writes to the log are meant: they hold a worker's row, or the log's lock.
"""

from __future__ import annotations

import logging

from motet.store.postgres.link import Link
from motet.store.postgres.log import LOCK_NUMBER

log = logging.getLogger("motet.store")

END_STANDING = f"""SELECT count(*) FILTER (WHERE ended) FROM (
    SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity AS session
    WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
    AND state = 'active' AND wait_event = 'ClientRead'
    AND clock_timestamp() - state_change > make_interval(secs => $1)
    AND EXISTS (SELECT FROM pg_locks WHERE pg_locks.pid = session.pid AND granted AND (
        relation = 'motet.worker'::regclass AND mode IN ('RowShareLock', 'RowExclusiveLock')
        OR locktype = 'advisory' AND objid = {LOCK_NUMBER})
    )
) AS standing"""


async def end_standing(link: Link, seconds: float) -> None:
    """End those that have waited for so long. What they were about is rolled back, and they are told so."""
    ended = await link.value(END_STANDING, seconds)
    if ended:
        log.warning("ended %d sessions whose clients had stood still in the middle of a transaction", ended)
