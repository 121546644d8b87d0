"""The campaign on a PostgreSQL: the same workload, workers and checks, with the troubles of a server and a network.

Beside what is promised on any store: readers of the log see each event once and in the order of the commits, whoever
publishes in a transaction of their own is told neither less nor more, and an outage alone reruns nothing. With the
loose edges, what was sold also reaches a reaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncpg

from tests.chaos import hearing, ledger
from tests.chaos.asking import PostgresBase
from tests.chaos.campaign import Campaign, Fault, Often, as_async
from tests.chaos.checks import Found, broken, find
from tests.chaos.edges import checks as edges
from tests.chaos.edges.workload import BOOK
from tests.chaos.faults.proxy import ProxyProcess
from tests.chaos.plan import Plan
from tests.chaos.postgres import selling
from tests.chaos.postgres.overtaking import client_name, come_back, hold, overtake, pause
from tests.chaos.postgres.rollout import Rollout
from tests.chaos.postgres.selling import Seller
from tests.chaos.postgres.tailing import Tail
from tests.chaos.postgres.trouble import DATABASE, DISK_MEBIBYTES, SETTINGS, Trouble
from tests.chaos.workers import Workers
from tests.chaos.workload import LEASE_SECONDS, app
from tests.postgres_server import PostgresServer

OUTAGES = frozenset({"crashes", "outages"})
RHYTHMS = (0.0, 0.05, 0.7)
"""Of the readers of the log: as fast as it goes, and slowly."""
CALM_SEA = frozenset({"pauses", "overtaken", "returns", "held"})
STORM = frozenset({"crashes", "outages", "silence", "slow", "disk"})
"""What comes by turns; all else comes at any time."""
CALM_SECONDS, STORM_SECONDS = 12.0, 8.0
SALES = 200
SALES_APART = 0.03
SALES_TO_DELIVER_APART = 5.0
"""Where each sale is an event that the ledger hears of."""
LEFT = ("worker", "run", "history", "event", "inbox", "outbox", "wait", "cursor", "delivery", "expected")
"""What is kept of the database, which is gone with the campaign."""
SELLERS = ("apples", "pears", "plums")


class PostgresCampaign(Campaign):
    """One folder, one seed, one life, one server."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        super().__init__(plan, folder, say)
        self._trouble: Trouble
        self._tails: list[Tail] = []
        self._sellers: list[Seller] = []
        self._rollout: Rollout | None = None
        self._workers_there: Workers | None = None

    # --- setting up -------------------------------------------------------------------------------------------

    async def _prepare(self, stack: contextlib.ExitStack) -> None:
        self._folder.chmod(0o755)  # the server runs as another user
        place = self._folder
        if "disk" in self.plan.faults:
            self._disk = self._small_disk(stack, DISK_MEBIBYTES)
            place = self._disk.folder if self._disk is not None else place
        server = PostgresServer(place / "server", SETTINGS)
        stack.callback(server.remove)
        stack.callback(lambda: shutil.copy(server.log, self._folder / "left-server.log"))
        server.start()  # from this thread: with it the server would end
        connection = await asyncpg.connect(server.address())
        await connection.execute(f"CREATE DATABASE {DATABASE}")
        await connection.close()
        connection = await asyncpg.connect(server.address(DATABASE))
        await connection.execute(selling.TABLE)
        await connection.close()
        proxy = await ProxyProcess.start(server.port)
        stack.callback(proxy.kill)
        self._trouble = Trouble(server, proxy, random.Random(self.plan.seed + 2))
        self._base = PostgresBase(self._trouble.direct)
        if "rollout" in self.plan.faults:
            self._rollout = Rollout(self._folder)
        self._tails = [Tail(self._trouble.direct, seconds) for seconds in RHYTHMS]
        apart = SALES_TO_DELIVER_APART if self.plan.edges else SALES_APART
        self._sellers = [
            Seller(app, name, self._trouble.through("seller"), random.Random(f"{self.plan.seed} {name}"), apart)
            for name in SELLERS
        ]

    def _make_book(self) -> None:
        self._base.ask(BOOK["postgres"])

    def _address(self, slot: str = "") -> str:
        return self._trouble.through(client_name(slot) if slot else "client")

    def _others(self) -> list[Coroutine[Any, Any, None]]:
        return [*(tail.follow() for tail in self._tails), *(self._selling(seller) for seller in self._sellers)]

    async def _selling(self, seller: Seller) -> None:
        """As long as there are faults."""
        selling = asyncio.create_task(seller.sell())
        try:
            while self._going and not selling.done():
                await asyncio.sleep(0.2)  # tidy: between two looks
        finally:
            selling.cancel()
            (end,) = await asyncio.gather(selling, return_exceptions=True)
            if not isinstance(end, asyncio.CancelledError):
                self.wrong.append(f"seller {seller.name} gave up: {end!r}")

    # --- the rage ---------------------------------------------------------------------------------------------

    def _faults(self, workers: Workers) -> list[Often]:
        self._workers_there = workers
        trouble, base, disk = self._trouble, self._base, self._disk
        often: list[Often] = [
            ("kills", (2.5, 6), lambda: as_async(workers.kill)),
            ("pauses", (0.5, 2.5), lambda: pause(workers, LEASE_SECONDS + 0.5, base, trouble.direct)),
            ("overtaken", (3, 9), lambda: overtake(workers, LEASE_SECONDS + 0.5, base, trouble.direct)),
            ("returns", (4, 10), lambda: come_back(workers, LEASE_SECONDS, base, trouble.direct)),
            ("held", (5, 12), lambda: self._hold(workers)),
            ("crashes", (7, 14), trouble.crash),
            ("outages", (14, 24), lambda: trouble.go_away(LEASE_SECONDS)),
            ("cuts", (2, 5), trouble.cut),
            ("replies", (1.5, 4), trouble.lose_replies),
            ("silence", (5, 12), lambda: trouble.fall_silent(self._somebody())),
            ("slow", (5, 12), self._slow_down),
            ("rollout", (0.15 * self.plan.seconds, 0.25 * self.plan.seconds), lambda: self._roll_out(workers)),
        ]
        if disk is not None:
            often.append(("disk", (8, 16), lambda: trouble.fill(disk)))
        return [
            (name, times, lambda name=name, fault=fault: self._in_season(name, fault))  # type: ignore[misc]
            for name, times, fault in often
            if name in self.plan.faults
        ]

    async def _in_season(self, name: str, fault: Fault) -> None:
        """Workers are only buried where the store answers for a lease; so the server has its quiet times."""
        seasons = [season for season in (CALM_SEA, STORM) if season & self.plan.faults]
        while not self._over.is_set() and len(seasons) > 1:
            now = seasons[asyncio.get_running_loop().time() % (CALM_SECONDS + STORM_SECONDS) > CALM_SECONDS]
            if name in now or name not in CALM_SEA | STORM:
                break
            await asyncio.sleep(0.2)  # tidy: until its time has come
        if not self._over.is_set():
            await fault()

    async def _hold(self, workers: Workers) -> None:
        held = await hold(workers, LEASE_SECONDS * 2.5, self._trouble.direct)
        self._trouble.counts["batches held for longer than a lease"] += held

    async def _roll_out(self, workers: Workers) -> None:
        assert self._rollout is not None
        await self._rollout.go_on(workers)

    def _somebody(self) -> str:
        """One worker's name before the server; now and then nobody's, which means everybody."""
        names = [client_name(number) for number in range(self.plan.workers)]
        return self._chance.choice([*names, "", "client"])

    async def _slow_down(self) -> None:
        """Everybody's network a little; or one worker's so much that its batch takes longer than a lease."""
        if self._chance.random() < 0.3:
            await self._trouble.slow_down("", self._chance.uniform(0.5, 2), self._chance.uniform(0.01, 0.1))
        else:
            name = client_name(self._chance.randrange(self.plan.workers))
            await self._trouble.slow_down(name, LEASE_SECONDS * 2, LEASE_SECONDS / 2 * self._chance.uniform(0.2, 0.4))

    # --- what came of it --------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        self._trouble.calm()
        await self._trouble.proxy.tell("end_silence")
        await super()._settle()
        await self._trouble.refresh()
        (head,) = self._base.ask("SELECT coalesce(max(position), 0) FROM event")[0]
        async with asyncio.timeout(20):
            while any(tail.last < head for tail in self._tails):
                await asyncio.sleep(0.1)  # tidy: until readers have come to the end

    def _keep(self) -> None:
        for table in (*LEFT, *(["chaos_book"] if self._edges is not None else [])):
            rows = self._base.ask(f"SELECT to_json({table})::text FROM {table}")
            (self._folder / f"left-{table}.jsonl").write_text("".join(f"{row}\n" for (row,) in rows))

    def _broken(self, lines: list[ledger.Line]) -> list[str]:
        found = find(self._base, lines, self.accepted)
        log = [(int(position), str(id)) for position, id in self._base.ask("SELECT position, id FROM event")]
        wrong = [
            *hearing.wrong(self._base),
            *broken(found._replace(events=[event for event in found.events if event[1] != selling.SOLD])),
            *(f"readers: {words}" for tail in self._tails for words in tail.wrong(log)),
            *(f"sellers: {words}" for words in selling.wrong(self._base)),
        ]
        if self._edges is not None:
            wrong += edges.broken(edges.find(self._base, lines, self._edges.told))
        if self._rollout is not None:
            ((version,),) = self._base.ask("SELECT version FROM schema")
            if version != self._rollout.version:
                wrong.append(f"rollout: the schema is {version} after workers of schema {self._rollout.version}")
        if self.plan.faults <= OUTAGES:
            wrong += [f"outages: {words}" for words in rerun(found, self._base.ask("SELECT id, pid FROM worker"))]
        return wrong

    async def _count(self) -> None:
        await self._trouble.refresh()

    def _least(self) -> dict[str, tuple[str, int, int]]:
        counts, plan = self._trouble.counts, self.plan
        named = {
            "held": ("batches held up", "batches held for longer than a lease", plan.others),
            "crashes": ("crashes of the server", "crashes", plan.others),
            "outages": ("outages longer than a lease", "outages", plan.others),
            "cuts": ("connections cut in a transaction", "cut in transaction", plan.others),
            "replies": ("lost replies to COMMIT", "replies dropped", plan.replies),
            "silence": ("half-open connections that were noticed", "noticed by the client", plan.others),
            "slow": ("slow networks", "slow networks", plan.others),
            "rollout": ("workers of the next schema", "workers of the next schema", plan.others),
        }
        self.counts.disk_full = counts["full disks"]
        moved_in = self._workers_there.moved_in if self._workers_there is not None else 0
        self._trouble.counts["workers of the next schema"] = moved_in
        sold = sum(seller.sold for seller in self._sellers)
        found = {
            fault: (what, counts[name], self._wanted(fault, least)) for fault, (what, name, least) in named.items()
        }
        return {**found, "sales": ("sales in transactions of their own", sold, min(SALES, plan.runs // 4))}

    def _befell(self) -> str:
        told = ", ".join(f"{count} {what}" for what, count in sorted(self._trouble.counts.items()) if count)
        sold = sum(seller.sold for seller in self._sellers)
        rolled_back = sum(seller.rolled_back for seller in self._sellers)
        return (
            f"{told}, {sold} sales, {rolled_back} rolled back, {[len(tail.seen) for tail in self._tails]} events seen"
        )


def rerun(found: Found, workers: list[tuple[Any, ...]]) -> list[str]:
    """What was done again although only the server was away, and who was buried for it."""
    again = Counter(
        line["key"] for line in found.lines if line["kind"] == "attempt" and line["trouble"].rpartition(":")[2] in CALM
    )
    twice = [key for key, count in again.items() if count > 1]
    words = [f"{len(twice)} attempts were made again: {', '.join(twice[:5])}"] if twice else []
    lost = [event for event in found.events if event[1] == "motet.worker.lost"]
    return [*words, *([f"{len(lost)} of {len(workers)} workers were buried"] if lost else [])]


CALM = frozenset({"", "slow", "refused", "refused_once"})
"""What services do that needs no second attempt."""
