"""Committing a batch: one transaction, guarded by the worker's fence or the client's ticket.

The fence is the first statement, in one message with BEGIN. It locks the worker's row until the batch has come to its
end, so who buries the worker, and who asks what has become of the batch, hears of it. A ticket is taken in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from motet.errors import LeaseLost, StoreError
from motet.model.clock import Micros
from motet.store.batches import sorted_by_kind
from motet.store.mutations import Mutation, StartRun
from motet.store.postgres.applying import apply_batch, retold
from motet.store.postgres.connections import Connections
from motet.store.postgres.link import Link
from motet.store.postgres.schema import STILL_SPOKEN, check_version, read_version
from motet.store.protocol import Fence, Receipt, Ticket

TICKETS_KEPT = 10_000
FORGETTING_EVERY = 100
_TICKETS_FORGOTTEN_AT_ONCE = 10 * FORGETTING_EVERY  # more than one's own: many may have begun, and written once

FORGET_TICKETS = """DELETE FROM motet.ticket WHERE number IN
    (SELECT number FROM motet.ticket WHERE number <= (SELECT max(number) FROM motet.ticket) - $1
    ORDER BY number LIMIT $2 FOR UPDATE SKIP LOCKED)"""
RECEIPT = "SELECT batch, buried FROM motet.worker WHERE id = $1 FOR UPDATE"


async def commit(
    connections: Connections, units: Sequence[list[Mutation]], guard: Fence | Ticket | None, now: Micros,
    behind: Callable[[], str] | None = None,
) -> Receipt:  # fmt: skip
    """As `Writing.commit`; `behind` as in `Connections.transaction`."""
    by_kind = sorted_by_kind(units)
    first = _fence(guard, now) if isinstance(guard, Fence) else take_ticket(guard) if guard is not None else ""
    async with connections.transaction(first, batch=True, behind=behind) as (link, status):
        if isinstance(guard, Fence):
            if status != "UPDATE 1":
                raise await _fenced_off(link, guard, connections.address.shown)
        elif guard is not None:
            if status != "INSERT 0 1":  # this ticket is not seen for the first time
                return await retold(link, by_kind.get(StartRun, []))
            if link.turn(FORGETTING_EVERY):
                await link.do(FORGET_TICKETS, TICKETS_KEPT, _TICKETS_FORGOTTEN_AT_ONCE)
        return await apply_batch(link, by_kind, now, connections.address.shown)


async def committed(connections: Connections, fence: Fence) -> bool:
    """Read the receipt under its lock: a batch that is still on its way is waited for."""
    async with connections.transaction(batch=True) as (link, _):
        row = await link.row(RECEIPT, fence.worker)
    if row is None or (row[1] and row[0] < fence.batch):
        raise LeaseLost(f"worker {fence.worker} has been declared dead")
    return bool(row[0] >= fence.batch)


def _fence(fence: Fence, now: Micros) -> str:
    return (
        f"UPDATE motet.worker SET batch = {fence.batch:d}, seen_at = {now:d} WHERE id = {fence.worker:d} "
        f"AND NOT buried AND batch = {fence.batch - 1:d} AND {STILL_SPOKEN}"
    )


def take_ticket(ticket: Ticket) -> str:
    """The statement that does, for the message that begins a transaction; no text can be more than a text in it."""
    text = f"convert_from(decode('{ticket.id.encode().hex()}', 'hex'), 'UTF8')"
    return f"INSERT INTO motet.ticket (id) VALUES ({text}) ON CONFLICT DO NOTHING"


async def _fenced_off(link: Link, fence: Fence, place: str) -> StoreError:
    """Why the fence did not hold. Raises StoreRefused: a newer Motet has migrated the store, and not for us."""
    check_version(await read_version(link), place)
    return LeaseLost(f"worker {fence.worker} has been declared dead; its runs belong to others")
