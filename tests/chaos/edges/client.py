"""Who publishes, waits, pauses and deploys in the campaign, beside its customers: the loose edges' own client.

The seed decides what is published and when. What has happened, as far as the store cannot tell it, is kept in `Told`
for the checks; everything else they read themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from motet.errors import MotetError
from tests.chaos.asking import Away, Base
from tests.chaos.edges.workload import ANSWER_SECONDS, LAST_EDITION, NIGHT_SECONDS
from tests.chaos.plan import BURSTS, Plan
from tests.chaos.workers import Workers
from tests.chaos.workload import Order, app

KEYS: Final = 12
NIGHTLY: Final = 8
BURST: Final = 150
BEAT_APART: Final = 0.2
LATER: Final = 2
USUAL_SECONDS: Final = 50.0
MOST_UNDER_WAY: Final = 100
STEADY: Final = ("book", "bill", "page", "answer")
"""Reactions that are paused now and then, under these names throughout."""


@dataclass
class Told:
    """What the checks cannot read from the store."""

    ids: dict[str, str] = field(default_factory=dict)  # id of the log -> type, of what was published with one
    cases: dict[str, str] = field(default_factory=dict)  # key -> what must become of what is expected
    in_the_night: set[str] = field(default_factory=set)  # keys answered while nobody worked, and not missed before
    forgotten_at: int | None = None  # how far `short_lived` had come when it was forgotten
    given_up: set[int] = field(default_factory=set)  # what was to be tried again there, or was a dead letter
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, by: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + by


class EdgeClient:
    """Lives as long as the campaign's own connection.

    Args:
        accepted: where runs that were started are noted, as customers do.
    """

    def __init__(self, plan: Plan, base: Base, workers: Workers, accepted: dict[str, str]) -> None:
        self.told = Told()
        self._parts = plan.edges
        self._seconds = plan.seconds
        self._slowness = max(plan.seconds / USUAL_SECONDS, 0.5)
        self._base = base
        self._workers = workers
        self._chance = random.Random(f"{plan.seed} edges")
        self._accepted = accepted
        self._going = True
        self._numbers = itertools.count()
        self._facts = itertools.count()
        self._parcels = itertools.count()
        self._under_way: set[asyncio.Task[None]] = set()
        self._began = 0.0

    async def live(self) -> None:
        """Until `end`."""
        self._began = time.monotonic()
        loops: dict[str, list[tuple[float, Callable[[], Awaitable[None]]]]] = {
            "facts": [(0.8, self._fact), (5.0, self._reordered), (2.5, self._order)],
            BURSTS: [(3.0, self._burst)],
            "parcels": [(4.0, self._parcel)],
            "pauses": [(6.0, self._pause)],
            "waits": [(2.0, self._asker), (2.0, self._listener), (2.5, self._patient)],
            "expectations": [(1.2, self._case), (2.5, self._beats)],
        }
        parts: list[Coroutine[Any, Any, None]] = [
            self._again(pace, act) for name in self._parts for pace, act in loops.get(name, [])
        ]
        if "waits" in self._parts:  # nobody else in the workers publishes with an id: some failpoints wait for them
            parts.append(self._again(1.0, self._herald, later=1))
        lonely = {"killers": self._killers, "editions": self._editions, "nights": self._nights}
        parts += [act() for name, act in lonely.items() if name in self._parts]
        await asyncio.gather(*parts)
        while self._under_way:
            await asyncio.gather(*list(self._under_way))

    def end(self) -> None:
        """Begin nothing more."""
        self._going = False

    async def _again(self, pace: float, act: Callable[[], Awaitable[None]], later: float = LATER) -> None:
        """One after the other begins, however long each takes.

        Args:
            later: so many times as seldom when the campaign only waits for some fault, since enough has come.
        """
        while self._going:
            apart = self._chance.expovariate(1 / pace) * self._slowness * (later if self._late else 1)
            await asyncio.sleep(apart)  # tidy: they come as they like
            if self._going and len(self._under_way) < MOST_UNDER_WAY:
                task = asyncio.create_task(_do(act))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)

    @property
    def _late(self) -> bool:
        """Whether the campaign only waits for some fault or failpoint."""
        return time.monotonic() - self._began > self._seconds

    def _number(self) -> int:
        return next(self._numbers)

    async def _until(self, share: float) -> bool:
        """Until so much of the campaign is over; False: it has ended before."""
        until = self._began + share * self._seconds
        while time.monotonic() < until and self._going:
            await asyncio.sleep(0.1)  # tidy: until then
        return self._going

    # --- what is published --------------------------------------------------------------------------------------

    async def _publish(self, type: str, data: Any, key: str, id: str, *, time: datetime | None = None) -> None:
        """With an id, so that it is there once however often it is said; now and then it is said again."""
        self.told.ids[f"chaos {id}"] = type
        await app.publish(type, data, key=key, id=id, time=time)
        if self._chance.random() < 0.1:
            self.told.count("said twice")
            await app.publish(type, data, key=key, id=id, time=time)

    async def _fact(self) -> None:
        number = self._number()
        turn = next(self._facts) % (5 if self._late else 15)  # some failpoints are only met in trouble
        trouble = {3: "flaky", 8: "poison"}.get(turn, "")
        self.told.count(f"facts {trouble}".strip())
        data = {"number": number, "trouble": trouble}
        await self._publish("edge.fact", data, f"k{self._chance.randrange(KEYS)}", f"fact {number}")

    async def _burst(self) -> None:
        data = {"number": self._number(), "trouble": ""}
        ids = [f"burst {data['number']} {n}" for n in range(BURST)]
        await asyncio.gather(*(self._publish("edge.fact", data, f"b{n % KEYS}", id) for n, id in enumerate(ids)))

    async def _reordered(self) -> None:
        """CloudEvents of somebody else, in any order, and some of them again."""
        series = self._number()
        now = datetime.now(UTC)
        documents = [
            {
                "specversion": "1.0", "id": f"{series}.{number}", "source": "outside", "type": "edge.received",
                "subject": f"series-{series}", "time": (now + timedelta(milliseconds=number)).isoformat(),
                "data": {"number": number},
            }
            for number in range(4)
        ]  # fmt: skip
        for document in documents:
            self.told.ids[f"outside {document['id']}"] = "edge.received"
        line = documents + self._chance.sample(documents, 2)
        self._chance.shuffle(line)
        self.told.count("said twice", 2)
        for document in line:
            await app.publish_cloudevent(document)

    async def _order(self) -> None:
        number = self._number()
        await self._publish("edge.order", {"whom": f"order-{number}"}, f"order-{number}", f"order-{number}")

    async def _parcel(self) -> None:
        number = self._number()
        data = {"parcel": 1} if next(self._parcels) % 3 == 1 else {"parcels": 1}
        self.told.count("typos", int("parcel" in data))
        await self._publish("edge.parcel", data, f"p{number % 3}", f"parcel {number}")

    async def _killers(self) -> None:
        for number, share in enumerate((0.1, 0.55)):
            for trouble in ("", "kill", ""):
                if not await self._until(share):
                    return
                self.told.count("killers", int(trouble == "kill"))
                key = f"x{number}"
                await self._publish("killer.event", {"trouble": trouble}, key, f"killer {number} {self._number()}")

    # --- people -------------------------------------------------------------------------------------------------

    async def _pause(self) -> None:
        """Nothing is lost of what comes meanwhile."""
        name = self._chance.choice(STEADY)
        with contextlib.suppress(MotetError):
            await app.pause(name)
            self.told.count("pauses")
        await asyncio.sleep(self._chance.uniform(0.5, 2))  # tidy: so long it is paused
        await _insist(lambda: app.resume(name))

    async def _editions(self) -> None:
        for edition in range(1, LAST_EDITION + 1):
            if not await self._until(0.2 * edition):
                return
            await self._workers.deploy(edition)
            await self._workers.retire_old(1)
            self.told.count("editions")
        while await self._workers.retire_old(1):
            await asyncio.sleep(0.5)  # tidy: one after the other
        while True:
            with contextlib.suppress(MotetError, Away):
                await self._forget()
                return
            await asyncio.sleep(0.5)  # tidy: a worker has its code still, or the store is away

    async def _forget(self) -> None:
        """Raises MotetError, Away."""
        found = await asyncio.to_thread(
            self._base.ask, "SELECT position FROM cursor WHERE name = 'chaos/short_lived' AND owner IS NULL"
        )
        if found:
            left = await asyncio.to_thread(
                self._base.ask, "SELECT position FROM delivery WHERE reaction = 'chaos/short_lived' AND state <> 'done'"
            )
            self.told.forgotten_at = found[0][0]  # nobody has its code any more
            self.told.given_up = {position for (position,) in left}
            await app.forget("short_lived")
        elif not await asyncio.to_thread(self._base.ask, "SELECT 1 FROM cursor WHERE name = 'chaos/short_lived'"):
            return  # it was forgotten, and only the reply was lost
        raise MotetError("not yet")

    async def care(self) -> None:
        """A person's: have dead letters tried again that nobody can be blamed for, and mend what was mistyped."""
        while True:
            await asyncio.sleep(0.5)  # tidy: the rhythm of this person
            with contextlib.suppress(MotetError):
                for letter in await app.dead_letters(limit=1_000):
                    trouble = letter.data.get("trouble") if isinstance(letter.data, dict) else None
                    if letter.reaction == "chaos/ship":
                        await app.edit(letter.reaction, letter.position, {"parcels": 1})
                        await app.redrive(letter.reaction, letter.position)
                        self.told.count("mended")
                    elif letter.error_type == "ProcessKiller" and trouble != "kill":
                        await app.redrive(letter.reaction, letter.position)
                        self.told.count("redriven")

    # --- waits --------------------------------------------------------------------------------------------------

    async def _start(self, kind: str, order: Order) -> None:
        await app.start(kind, order, id=order.id)
        self._accepted[order.id] = kind
        self.told.count(kind)

    async def _asker(self) -> None:
        await self._start("asker", Order(f"asker-{self._number()}"))

    async def _herald(self) -> None:
        await self._start("herald", Order(f"herald-{self._number()}"))

    async def _listener(self) -> None:
        order = Order(f"listener-{self._number()}", left=1)
        await self._start("listener", order)
        for number in range(4):
            if self._chance.random() < 0.3:
                await asyncio.sleep(self._chance.random())  # tidy: now and then it has to wait
            type = self._chance.choice(("note.sent", "note.sung"))
            await self._publish(type, number, order.id, f"{order.id} {number}")

    async def _patient(self) -> None:
        """Of a type that nobody has waited for before; the second to wait began first, and its event is older."""
        number = self._number()
        first, second = (
            Order(f"patient-{number}-{n}", f"gap.{number}", seconds) for n, seconds in ((1, 1.0), (2, 0.0))
        )
        await self._start("patient", first)
        await self._publish(first.trouble, 1, first.id, first.id)
        await self._start("patient", second)
        await self._publish(second.trouble, 2, second.id, second.id)

    # --- what is expected ---------------------------------------------------------------------------------------

    async def _case(self) -> None:
        """What becomes of it is a function of the events' own times, in whatever order they come."""
        key, now = f"case-{self._number()}", datetime.now(UTC)
        fate, after = self._chance.choice(
            (("met", 0.3), ("met", ANSWER_SECONDS), ("late", ANSWER_SECONDS + 0.5), ("missed", -0.5), ("missed", None))
        )
        self.told.cases[key] = fate
        self.told.count(fate)
        asked = self._publish("case.asked", {"key": key}, key, f"{key} asked", time=now)
        if after is None:
            await asked
            return
        answered = self._publish("case.answered", {}, key, f"{key} answered", time=now + timedelta(seconds=after))
        if self._chance.random() < 0.5:
            await asked
            await asyncio.sleep(self._chance.uniform(0, 2 * ANSWER_SECONDS))  # tidy: so long the answer is on its way
            await answered
        else:
            await answered
            await asked

    async def _beats(self) -> None:
        """Each arms; one answer is for all that are open."""
        key, now = f"beat-{self._number()}", datetime.now(UTC)
        beats = self._chance.randint(1, 3)
        for number in range(beats):
            time = now + timedelta(seconds=number * BEAT_APART)
            await self._publish("beat.sent", number, key, f"{key} {number}", time=time)
        if self._chance.random() < 0.6:
            seen = now + timedelta(seconds=(beats - 1) * BEAT_APART + self._chance.choice((0.1, 2.0)))
            await self._publish("beat.seen", None, key, f"{key} seen", time=seen)

    async def _nights(self) -> None:
        """Half of what is expected comes while nobody works, and is not missed in the morning."""
        for share in (0.3, 0.6):
            if await self._until(share):
                await self._night([f"night-{self._number()}" for _ in range(NIGHTLY)])

    async def _night(self, keys: list[str]) -> None:
        began = datetime.now(UTC)
        for key in keys:
            await self._publish("night.began", None, key, f"{key} began", time=began)
        armed = "SELECT key FROM expected WHERE expectation = 'chaos/dawn' AND state = 'open'"
        with contextlib.suppress(TimeoutError, Away):
            async with asyncio.timeout(2):
                while not set(keys) <= {key for (key,) in await asyncio.to_thread(self._base.ask, armed)}:
                    await asyncio.sleep(0.05)  # tidy: until they are armed
        due = time.monotonic() + NIGHT_SECONDS - (datetime.now(UTC) - began).total_seconds()
        async with self._workers.night():
            try:
                missed = await asyncio.to_thread(self._base.ask, "SELECT key FROM expected WHERE missed_at IS NOT NULL")
            except Away:
                missed = [(key,) for key in keys]
            for key in keys[::2]:
                await self._publish("night.ended", None, key, f"{key} ended", time=began + timedelta(seconds=1))
                if (key,) not in missed:
                    self.told.in_the_night.add(key)
            await asyncio.sleep(max(due - time.monotonic(), 0) + 0.3)  # tidy: until the time is over
        self.told.count("nights")

    # --- afterwards ---------------------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Until all that was published has been dealt with."""
        while True:
            with contextlib.suppress(Away):
                if not await asyncio.to_thread(self.unsettled):
                    return
            await asyncio.sleep(0.3)  # tidy: between two looks

    def unsettled(self) -> list[str]:
        """What is left to be done. Raises Away."""
        ((head,),) = self._base.ask("SELECT coalesce(max(position), 0) FROM event")
        behind = self._base.ask("SELECT name, position FROM cursor WHERE position < ?", head)
        left = self._base.ask("SELECT reaction, position, state FROM delivery WHERE state NOT IN ('parked', 'done')")
        still = self._base.ask("SELECT expectation, key FROM expected WHERE state = 'open'")
        return [f"{row}" for row in (*behind, *left, *still)]

    def too_little(self) -> list[str]:
        """What has not happened often enough for the campaign to say anything."""
        least: dict[str, dict[str, int]] = {
            "facts": {"facts": 20, "facts poison": 1, "facts flaky": 2, "said twice": 5},
            "parcels": {"mended": 1},
            "killers": {"killers": 2},
            "editions": {"editions": LAST_EDITION},
            "pauses": {"pauses": 2},
            "waits": {"asker": 5, "listener": 5, "patient": 5, "herald": 5},
            "expectations": {"met": 3, "missed": 3, "late": 2},
            "nights": {"nights": 2},
        }
        wanted = {what: number for part in self._parts for what, number in least.get(part, {}).items()}
        counts = self.told.counts
        return [
            f"too few {what}: {counts.get(what, 0)} of {number}"
            for what, number in sorted(wanted.items())
            if counts.get(what, 0) < number
        ]

    def story(self) -> str:
        return ", ".join(f"{number} {what}" for what, number in sorted(self.told.counts.items()))


async def _do(act: Callable[[], Awaitable[None]]) -> None:
    await act()


async def _insist(act: Callable[[], Awaitable[object]]) -> None:
    """Until it has been done."""
    while True:
        with contextlib.suppress(MotetError):
            await act()
            return
        await asyncio.sleep(0.2)  # tidy: the store is away
