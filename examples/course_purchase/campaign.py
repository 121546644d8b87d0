"""One campaign: all purchases through the shop, with the workers killed in the middle.

Everything that may go wrong on the way ends the campaign: a child that dies uncalled, a store that refuses,
Ctrl-C. Its processes end with it in every case.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

from motet.errors import RunEndedBadly

from .connections import ADDRESS_VARIABLE, Connections
from .crew import Crew, Trouble
from .entries import Attempt, Entry
from .ledger_file import read_ledger
from .options import BadOptions
from .processes import Processes
from .protocol import encode
from .purchases import Purchase
from .screen import Screen
from .services import CardDeclined, CourseFull
from .shop import run_purchase, shop
from .verify import (
    ENDED,
    IN_FLIGHT_AT_LEAST,
    UNANSWERED_AT_LEAST,
    RunEnd,
    Verdict,
    in_flight,
    observe,
    verify,
)

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

RUN_PREFIX = "purchase-"

MOTET = "import sys; from motet.cli.main import main; sys.exit(main())"
"""The command `motet`, for this very Python: the script of that name may not be in the search path."""


class Campaign:
    """Runs the purchases and keeps what the check needs. `outcome_of` is filled at the end, by purchase
    id."""

    def __init__(
        self,
        folder: Path,
        purchases: list[Purchase],
        screen: Screen,
        *,
        ignore_keys: bool = False,
        workers: int = 1,
        seed: int = 1,
    ) -> None:
        self.outcome_of: dict[str, str] = {}
        self._folder = folder
        self._purchases = purchases
        self._screen = screen
        self._ignore_keys = ignore_keys
        self._workers = workers
        self._seed = seed
        self._troubled: asyncio.Event | None = None
        self._ledger_file = folder / "ledger.jsonl"
        self._accepted: list[str] = []
        self._ended = 0
        self._in_flight_at_kill = 0

    async def run(self) -> Verdict:
        """Run everything; return the verdict. Raises what made it impossible to finish."""
        started = asyncio.get_running_loop().time()
        async with Processes(self._folder) as processes:
            ends = await processes.guard(self._drive(processes))
        # Only now have the processes ended, and with them the ledger's file.
        self.outcome_of = {purchase: end.outcome for purchase, end in ends.items()}
        return verify(
            read_ledger(self._ledger_file),
            self._accepted,
            ends,
            in_flight_at_kill=self._in_flight_at_kill,
            seconds=asyncio.get_running_loop().time() - started,
            workers=self._workers,
        )

    async def _drive(self, processes: Processes) -> dict[str, RunEnd]:
        async with shop.connect():
            if await shop.runs(limit=1):
                raise BadOptions("the store holds runs already; the demo needs one of its own, to tell what is lost")
            options = ["--ignore-keys"] if self._ignore_keys else []
            ledger = await processes.start("ledger", "ledger", "--file", str(self._ledger_file), *options, variables={})
            address = ledger.first_line
            self._screen.phase(f"The ledger, which plays bank and campus, answers at {address}.")
            async with Connections(address) as control:
                return await self._buy_and_kill(processes, address, control)

    async def _buy_and_kill(self, processes: Processes, address: str, control: Connections) -> dict[str, RunEnd]:
        crew = Crew(self._workers, processes, control, self._screen, {ADDRESS_VARIABLE: address})
        await crew.fill()
        self._screen.phase(f"{_named(crew, 'drives', 'drive')} {len(self._purchases)} purchases.")
        self._screen.total(len(self._purchases))
        trouble = Trouble(crew, self._seed) if self._workers > 1 else None
        self._troubled = trouble.enough if trouble is not None else None
        worst_moment = asyncio.create_task(control.ask(encode(_hold(len(self._purchases), self._workers))))
        buying = asyncio.create_task(self._buy_all())
        try:
            await self._wait_for(worst_moment, buying)
            await self._kill(crew, control)
            await crew.fill()
            self._screen.phase(f"{_named(crew, 'takes', 'take')} over.")
            await (buying if trouble is None else _amid(trouble, buying))
        finally:
            worst_moment.cancel()
            buying.cancel()
            await asyncio.gather(worst_moment, buying, return_exceptions=True)
        self._screen.phase("All purchases have ended.")
        await self._show_status(*self._examples_of_ends())
        return await self._read_ends()

    async def _wait_for(self, worst_moment: asyncio.Task[bytes], buying: asyncio.Task[None]) -> None:
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
        ended = {purchase for purchase, end in (await self._read_ends()).items() if end.state in ENDED}
        self._in_flight_at_kill = in_flight(entries, ended)
        unanswered = observe(entries).unanswered_at_kill
        self._screen.phase(
            f"kill -9 {pids}: {self._in_flight_at_kill} purchases were in flight,"
            f" and {unanswered} effects done outside had no answer yet.",
            style="bold red",
        )
        await self._show_status(*_example_in_flight(entries, ended))
        await control.ask(encode({"operation": "release"}))

    async def _buy_all(self) -> None:
        """Start all purchases and wait for their ends; give up when for long no purchase has ended."""
        gate = asyncio.Semaphore(AT_ONCE)
        early = len(self._purchases) - len(self._purchases) // HELD_BACK
        unfinished = {
            asyncio.create_task(self._buy(purchase, gate, late=index >= early))
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

    async def _buy(self, purchase: Purchase, gate: asyncio.Semaphore, *, late: bool) -> None:
        if late and self._troubled is not None:
            await self._troubled.wait()
        async with gate:
            run = await shop.start(run_purchase, purchase, id=RUN_PREFIX + purchase.id)
            self._accepted.append(purchase.id)
            # How a run ended is read from its record later; here it only matters that it has.
            with contextlib.suppress(CardDeclined, CourseFull, RunEndedBadly):
                await run.result()
            self._ended += 1
            self._screen.one_ended()

    async def _read_ends(self) -> dict[str, RunEnd]:
        runs = await shop.runs(limit=len(self._purchases))
        return {run.id.removeprefix(RUN_PREFIX): RunEnd(run.state, run.error_type) for run in runs}

    def _examples_of_ends(self) -> list[str]:
        """Choose one purchase that went well and one that was undone without anybody knowing what had
        happened."""
        shown: dict[str | None, str] = {}
        for purchase in self._purchases:
            shown.setdefault(purchase.trouble, purchase.id)
        return [shown[trouble] for trouble in (None, "enroll_reply_always_lost") if trouble in shown]

    async def _show_status(self, *purchases: str) -> None:
        """Show what `motet status` says, by running it: what a person sees here is what they will see."""
        if not self._screen.shown:
            return
        for purchase in purchases:
            arguments = ("status", RUN_PREFIX + purchase)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                MOTET,
                *arguments,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            self._screen.status(" ".join(("motet", *arguments)), output.decode(errors="replace"))


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


def _named(crew: Crew, one: str, several: str) -> str:
    """`Worker 12 drives`, or `Workers 12, 13 drive`."""
    pids = ", ".join(str(member.pid) for member in crew.members)
    return f"Worker {pids} {one}" if len(crew.members) == 1 else f"Workers {pids} {several}"


def _hold(purchases: int, workers: int) -> dict[str, object]:
    """Ask the ledger to withhold replies early enough that the purchases not yet ended are enough for the
    kill; where more trouble follows, that it finds something to trouble as well.

    Each end takes at least one attempt, so after n attempts at most n purchases have ended.
    """
    after = max(0, min(purchases * 2 // 3 if workers == 1 else purchases // 3, purchases - IN_FLIGHT_AT_LEAST - 2))
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
