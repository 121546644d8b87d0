"""One campaign: all purchases through the shop, with the workers killed in the middle.

Everything that may go wrong on the way ends the campaign: a child that dies uncalled, a store that refuses,
Ctrl-C. Its processes end with it in every case.

With a switch, purchases from a certain one on begin in another style, while those under way go on in theirs, on the
same store; and the workers of both are killed just then.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from .chronicle import Chronicle
from .connections import ADDRESS_VARIABLE, Connections
from .crew import Crew, Trouble
from .database import Database, OutOfReach, is_postgres
from .entries import Attempt, Entry
from .ledger_file import read_ledger
from .options import BadOptions
from .outside import in_flight, observe
from .processes import Processes
from .protocol import encode
from .purchases import Purchase
from .screen import Screen
from .settling import settle
from .shop import shop
from .showing import Showing
from .styles import ROLES, Course, Owned, StyleName, Unowned, ways_of
from .verify import IN_FLIGHT_AT_LEAST, UNANSWERED_AT_LEAST, End, Switch, Told, Verdict, verify

AT_ONCE = 64
"""How many purchases the client has under way at the same time."""

WORST_MOMENT_SECONDS = 20.0
"""How long to wait for enough unanswered effects before killing anyway; the check then says what was
missing."""

STALL_SECONDS = 120.0
"""How long no purchase may end before the campaign gives up on the rest and reports them lost."""

HELD_BACK = 4
"""With several workers, one purchase in so many is only begun when there has been trouble of each kind: however
quick the workers are, there are purchases under way while they are killed and paused."""


@dataclass(frozen=True, kw_only=True)
class Orders:
    """How the purchases are to be driven; see `DemoOptions`."""

    style: StyleName = "hybrid"
    switch_to: StyleName | None = None
    at: int = 0
    ignore_keys: bool = False
    workers: int = 1
    seed: int = 1

    def style_at(self, index: int) -> StyleName:
        """In which style the purchase at this place begins."""
        return self.style if self.switch_to is None or index < self.at else self.switch_to

    @property
    def styles(self) -> tuple[StyleName, ...]:
        """All that take part, the first one first."""
        return (self.style,) if self.switch_to is None else (self.style, self.switch_to)


class Campaign:
    """Runs the purchases and keeps what the check needs. `outcome_of` is filled at the end, by purchase
    id."""

    def __init__(self, folder: Path, purchases: list[Purchase], screen: Screen, orders: Orders) -> None:
        self.outcome_of: dict[str, str] = {}
        self._folder = folder
        self._purchases = purchases
        self._screen = screen
        self._orders = orders
        self._style_of: dict[str, StyleName] = {
            purchase.id: orders.style_at(index) for index, purchase in enumerate(purchases)
        }
        self._chronicle = Chronicle(shop, self._style_of)
        self._courses: dict[StyleName, Course] = {
            style: Unowned(shop, self._chronicle) if style == "choreographed" else Owned(shop)
            for style in orders.styles
        }
        self._showing = Showing(screen, purchases, self._style_of)
        self._troubled: asyncio.Event | None = None
        self._switched = asyncio.Event()
        self._switch: Switch | None = None
        self._ledger_file = folder / "ledger.jsonl"
        self._accepted: list[str] = []
        self._begun = 0
        self._ended = 0
        self._in_flight_at_kill = 0

    async def run(self) -> Verdict:
        """Run everything; return the verdict. Raises what made it impossible to finish."""
        started = asyncio.get_running_loop().time()
        async with Processes(self._folder) as processes:
            ends, told = await processes.guard(self._drive(processes))
        # Only now have the processes ended, and with them the ledger's file.
        self.outcome_of = {purchase: end.outcome for purchase, end in ends.items()}
        return verify(
            read_ledger(self._ledger_file),
            self._accepted,
            ends,
            in_flight_at_kill=self._in_flight_at_kill,
            seconds=asyncio.get_running_loop().time() - started,
            workers=self._orders.workers,
            processes=sum(len(ROLES[style]) for style in self._orders.styles),
            told=told,
            ways={purchase: ways_of(style, purchase) for purchase, style in self._style_of.items()},
            switch=self._switch,
        )

    async def _drive(self, processes: Processes) -> tuple[dict[str, End], Told]:
        async with shop.connect():
            if await shop.runs(limit=1) or await shop.client.store.head():
                raise BadOptions("the store holds runs already; the demo needs one of its own, to tell what is lost")
            options = ["--ignore-keys"] if self._orders.ignore_keys else []
            ledger = await processes.start("ledger", "ledger", "--file", str(self._ledger_file), *options, variables={})
            address = ledger.first_line
            self._screen.phase(f"The ledger, which plays bank and campus, answers at {address}.")
            following = asyncio.create_task(self._chronicle.follow())
            try:
                async with Connections(address) as control:
                    outcome = await self._buy_and_kill(processes, address, control)
                if following.done():
                    following.result()  # raises what has ended it: nothing was heard any more
                return outcome
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def _buy_and_kill(
        self, processes: Processes, address: str, control: Connections
    ) -> tuple[dict[str, End], Told]:
        orders = self._orders
        crew = Crew(orders.workers, processes, control, self._screen, {ADDRESS_VARIABLE: address})
        await crew.fill(dict.fromkeys(role for style in orders.styles for role in ROLES[style]))
        self._screen.phase(f"{crew.named('drives', 'drive')} {len(self._purchases)} purchases.")
        self._screen.phase(f"The style is {', then '.join(orders.styles)}.")
        self._screen.total(len(self._purchases))
        trouble = Trouble(crew, orders.seed) if orders.workers > 1 else None
        self._troubled = trouble.enough if trouble is not None else None
        worst_moment = asyncio.create_task(self._worst_moment(control))
        buying = asyncio.create_task(self._buy_all())
        try:
            await self._wait_for(worst_moment, buying)
            await self._kill(crew, control)
            await crew.fill()
            self._screen.phase(f"{crew.named('takes', 'take')} over.")
            await self._crash_database()
            await (buying if trouble is None else _amid(trouble, buying))
            self._screen.phase("All purchases have ended.")
            await settle(shop, lambda: self._chronicle.events, STALL_SECONDS)
        finally:
            worst_moment.cancel()
            buying.cancel()
            await asyncio.gather(worst_moment, buying, return_exceptions=True)
        await self._showing.ends()
        return await self._read_ends(), await self._read_told()

    async def _crash_database(self) -> None:
        """Where the store is a server that may be crashed: do so, with all at work."""
        address = os.environ.get("MOTET_STORE", "")
        if not is_postgres(address):
            return
        try:
            seconds = await Database(address).crash()
        except OutOfReach as reason:
            self._screen.phase(f"The database is not crashed: {reason}.")
        else:
            self._screen.phase(
                f"kill -9 in the database: it threw everybody out, and answers again after {seconds:.1f} s.",
                style="bold red",
            )

    async def _worst_moment(self, control: Connections) -> None:
        """Return when enough is unanswered: late in the campaign, or right after the switch."""
        if self._orders.switch_to is not None:
            await self._switched.wait()
            hold = _hold(0)
        else:
            hold = _hold(_attempts_before(self._purchases, self._orders.workers))
        await control.ask(encode(hold))

    async def _wait_for(self, worst_moment: asyncio.Task[None], buying: asyncio.Task[None]) -> None:
        """Return when enough is unanswered, or when that will not come any more."""
        ended_before = -1
        while ended_before < self._ended:
            ended_before = self._ended
            done, _ = await asyncio.wait(
                {worst_moment, buying}, timeout=WORST_MOMENT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if done:
                for task in done:
                    task.result()
                return

    async def _kill(self, crew: Crew, control: Connections) -> None:
        """Kill the workers; count what they left behind, while nothing moves; let the replies go."""
        pids = " ".join(str(member.pid) for member in crew.members)
        await crew.kill_all()
        entries = read_ledger(self._ledger_file)
        ended = {purchase for purchase, end in (await self._read_ends()).items() if end.ended}
        self._in_flight_at_kill = in_flight(entries, ended)
        unanswered = observe(entries).unanswered_at_kill
        self._screen.phase(
            f"kill -9 {pids}: {self._in_flight_at_kill} purchases were in flight,"
            f" and {unanswered} effects done outside had no answer yet.",
            style="bold red",
        )
        await self._showing.status(*_example_in_flight(entries, ended))
        await control.ask(encode({"operation": "release"}))

    async def _buy_all(self) -> None:
        """Start all purchases and wait for their ends; give up when for long no purchase has ended."""
        gate = asyncio.Semaphore(AT_ONCE)
        count, at = len(self._purchases), self._orders.at
        early = count - (count - at) // HELD_BACK
        unfinished = {
            asyncio.create_task(self._buy(index, purchase, gate, late=index >= early))
            for index, purchase in enumerate(self._purchases)
        }
        ended_before = -1
        try:
            while unfinished and ended_before < self._ended:
                ended_before = self._ended
                done, unfinished = await asyncio.wait(
                    unfinished, timeout=STALL_SECONDS, return_when=asyncio.FIRST_EXCEPTION
                )
                for task in done:
                    task.result()
        finally:
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)

    async def _buy(self, index: int, purchase: Purchase, gate: asyncio.Semaphore, *, late: bool) -> None:
        if index >= self._orders.at and self._orders.switch_to is not None:
            await self._switched.wait()
        if late and self._troubled is not None:
            await self._troubled.wait()
        course = self._courses[self._style_of[purchase.id]]
        async with gate:
            await course.begin(purchase)
            self._accepted.append(purchase.id)
            self._begun += 1
            if self._begun == self._orders.at:
                self._switch_over()
            await course.ended(purchase.id)
            self._ended += 1
            self._screen.one_ended()

    def _switch_over(self) -> None:
        """From now on, purchases begin in the other style."""
        in_flight = self._begun - self._ended
        self._switch = Switch(self._orders.at, in_flight)
        self._screen.phase(
            f"{self._begun} purchases have begun, {in_flight} of them are in flight and go on {self._orders.style};"
            f" from now on they begin {self._orders.switch_to}.",
            style="bold yellow",
        )
        self._switched.set()

    async def _read_ends(self) -> dict[str, End]:
        ends: dict[str, End] = {}
        for style, course in self._courses.items():
            ends |= await course.ends([one for one in self._accepted if self._style_of[one] == style])
        return ends

    async def _read_told(self) -> Told:
        """What Motet says of events and reactions, when all is over."""
        chronicle, reactions = self._chronicle, await shop.reaction_status()
        await chronicle.read_on()
        return Told(
            events=chronicle.events,
            reactions=sum(reaction.delivered for reaction in reactions),
            dead_letters=sum(reaction.dead for reaction in reactions),
            expectations_missed=chronicle.missed,
            noticed=chronicle.noticed,
            notices=chronicle.notices,
        )


async def _amid(trouble: Trouble, buying: asyncio.Task[None]) -> None:
    """Buy to the end, while the trouble goes on; raises what either of them raises."""
    making = asyncio.create_task(trouble.run())
    try:
        await asyncio.wait({making, buying}, return_when=asyncio.FIRST_COMPLETED)
        if making.done():
            making.result()
        await buying
    finally:
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)


def _attempts_before(purchases: list[Purchase], workers: int) -> int:
    """When to begin to withhold replies: early enough that the purchases not yet ended are enough for the
    kill; where more trouble follows, that it finds something to trouble as well.

    Each end takes at least one attempt, and two unless the card is declined: so after n attempts at most n / 2 of the
    purchases have ended, and half of the declined ones besides.
    """
    count = len(purchases)
    ended = min(count * 2 // 3 if workers == 1 else count // 6, count - IN_FLIGHT_AT_LEAST - 2)
    declined = sum(purchase.trouble == "card_declined" for purchase in purchases)
    return max(0, 2 * ended - declined)


def _hold(after: int) -> dict[str, object]:
    """Ask the ledger to withhold replies after so many attempts, until enough wait for them."""
    return {
        "operation": "hold",
        "after": after,
        "purchases": IN_FLIGHT_AT_LEAST,
        "effects": UNANSWERED_AT_LEAST,
    }


def _example_in_flight(entries: list[Entry], ended: set[str]) -> list[str]:
    """Choose a purchase with an effect nobody was told of; best one with a payment behind it and the seat
    unknown."""
    unanswered = [e for e in entries if isinstance(e, Attempt) and e.reply == "withheld" and e.purchase not in ended]
    seats = [attempt for attempt in unanswered if attempt.operation == "enroll"]
    return [attempt.purchase for attempt in (seats or unanswered)[:1]]
