"""Committing a batch: one transaction, guarded by the worker's fence or the client's ticket.

The fence is the first statement, in one message with BEGIN. It locks the worker's row until the batch has come to its
end, so who buries the worker, and who asks what has become of the batch, hears of it.
"""

from __future__ import annotations

from collections.abc import Sequence

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
_TICKETS_FORGOTTEN_AT_ONCE = 100

TAKE_TICKET = "INSERT INTO motet.ticket (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING number"
FORGET_TICKETS = """DELETE FROM motet.ticket WHERE number IN
    (SELECT number FROM motet.ticket WHERE number <= $1 ORDER BY number LIMIT $2 FOR UPDATE SKIP LOCKED)"""
RECEIPT = "SELECT batch, buried FROM motet.worker WHERE id = $1 FOR UPDATE"


async def commit(
    connections: Connections, units: Sequence[list[Mutation]], guard: Fence | Ticket | None, now: Micros
) -> Receipt:
    """As `Writing.commit`."""
    by_kind = sorted_by_kind(units)
    first = _fence(guard, now) if isinstance(guard, Fence) else ""
    async with connections.transaction(first, batch=True) as (link, status):
        if isinstance(guard, Fence):
            if status != "UPDATE 1":
                raise await _fenced_off(link, guard, connections.address.shown)
        elif guard is not None and not await _take_ticket(link, guard):
            return await retold(link, by_kind.get(StartRun, []))
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


async def _fenced_off(link: Link, fence: Fence, place: str) -> StoreError:
    """Why the fence did not hold. Raises StoreRefused: a newer Motet has migrated the store, and not for us."""
    check_version(await read_version(link), place)
    return LeaseLost(f"worker {fence.worker} has been declared dead; its runs belong to others")


async def _take_ticket(link: Link, ticket: Ticket) -> bool:
    """Whether this ticket is seen for the first time."""
    number = await link.value(TAKE_TICKET, ticket.id)
    if number is None:
        return False
    await link.do(FORGET_TICKETS, number - TICKETS_KEPT, _TICKETS_FORGOTTEN_AT_ONCE)
    return True
