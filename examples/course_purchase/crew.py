"""The demo's workers, and what is done to them: killed, stopped in the middle of whatever they do, let go on.

Each has a role: in the orchestrated and the hybrid style all are alike, in the choreographed one they are services.

    working ──kill -9──────────────────────────────────────> gone, and another one takes its place
    working ──SIGSTOP──> still ──others bury it──SIGCONT──> working again, under a new identity

A worker that stands still for longer than its lease is declared dead by the others, who take its purchases over.
When it goes on, it believes that they are its own; whatever it then tries to write is refused.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Iterable, Mapping

from motet.errors import StoreUnavailable
from motet.model.run import RunState
from motet.store.protocol import RunFilter

from .connections import Connections
from .database import is_postgres
from .processes import Child, Processes
from .protocol import encode
from .screen import Screen
from .shop import shop
from .styles import Role

LEASE_SECONDS = 2.0
"""Short, so that a pause outlasts it within the patience of who watches a demo."""

SERVER_LEASE_SECONDS = 5.0
"""Where the store is a server: a batch is several messages to it and back, and each may be slow on a busy machine."""

STUCK_SECONDS = 1.5
"""How long all others may be still as well. Then the one that was stopped holds the store's lock, for which they wait:
it will not be buried, and whoever stopped it has to let it go on."""

STRIKES = 3
"""A run that was in memory at three deaths of its process is a suspect, and at the fourth it would be found guilty of
them. That is as it should be, but here it would be wrong: so the worker that has such a run is left alone."""

REACTION_STRIKES = 2
"""The same for a reaction, of which an event would be found guilty at the third death."""

UNDER_WAY: tuple[RunState, ...] = ("pending", "running", "waiting", "compensating")
MANY = 1_000_000
LOOK_SECONDS = 0.05
KILL_PAUSE_SECONDS = (0.3, 1.5)


class Crew:
    """So many workers of each role at any time, but for the moments in which one is replaced."""

    def __init__(
        self, size: int, processes: Processes, control: Connections, screen: Screen, variables: Mapping[str, str]
    ) -> None:
        self.members: list[Child] = []
        self._roles: dict[Role, int] = {}
        self._role_of: dict[Child, Role] = {}
        self._size = size
        self._processes = processes
        self._control = control
        self._screen = screen
        self._variables = variables
        self._started: Counter[str] = Counter()
        self._pausing = False

    async def fill(self, roles: Iterable[Role] = ()) -> None:
        """Start as many as are missing, with those of these further roles."""
        for role in roles:
            self._roles[role] = self._size if role.many else 1
        there = Counter(self._role_of[member] for member in self.members)
        missing = [role for role, size in self._roles.items() for _ in range(size - there[role])]
        await asyncio.gather(*(self._start(role) for role in missing))

    def named(self, one: str, several: str) -> str:
        """`Worker 12 drives`, `Workers 12, 13 drive`, or `Billing 12, enrollment 13 drive`."""
        if self.is_mixed:
            order = list(self._roles)
            members = sorted(self.members, key=lambda member: order.index(self._role_of[member]))
            names = ", ".join(f"{self._role_of[member].name} {member.pid}" for member in members)
            return f"{names.capitalize()} {several}"
        pids = ", ".join(str(member.pid) for member in self.members)
        return f"Worker {pids} {one}" if len(self.members) == 1 else f"Workers {pids} {several}"

    async def kill_all(self) -> None:
        """Kill -9 all at once, as a power failure does; return when all are gone, and the ledger knows."""
        members, self.members = self.members, []
        await asyncio.gather(*(member.kill() for member in members))
        for _ in members:
            await self._control.ask(encode({"operation": "killed"}))

    async def replace(self, member: Child) -> None:
        """Kill -9 one, and start another."""
        role = self._role_of[member]
        self.members.remove(member)
        await member.kill()
        await self._control.ask(encode({"operation": "killed"}))
        successor = await self._start(role)
        self._screen.phase(f"kill -9 {member.pid}; {role.name} {successor.pid} takes its place.", style="red")

    async def pause(self, member: Child) -> bool:
        """Stop one until the others have declared it dead, then let it go on; tell whether they have.

        Only who has watched it for a full lease may do that, so the oldest of the others is spared meanwhile.
        """
        self.members.remove(member)
        self._pausing = True
        began = asyncio.get_running_loop().time()
        os.kill(member.pid, signal.SIGSTOP)
        try:
            buried = await self._is_buried(member.pid)
            if buried:
                await self._control.ask(encode({"operation": "paused"}))
                seconds = asyncio.get_running_loop().time() - began
                name = self._role_of[member].name.capitalize()
                text = f"{name} {member.pid} stood still for {seconds:.1f} s and was declared dead; now it goes on."
                self._screen.phase(text, style="yellow")
        finally:
            os.kill(member.pid, signal.SIGCONT)
            self._pausing = False
            self.members.append(member)
        return buried

    @property
    def is_mixed(self) -> bool:
        """Whether they have different roles."""
        return len(self._roles) > 1

    async def victims(self) -> list[Child]:
        """Those that may be struck now, the one with the most purchases first; looks until there is one."""
        while True:
            with contextlib.suppress(StoreUnavailable):  # its server may be crashed just now
                if found := await self._may_be_struck():
                    return found
            await asyncio.sleep(LOOK_SECONDS)  # tidy: between two looks

    async def _may_be_struck(self) -> list[Child]:
        store = shop.client.store
        cursors = [cursor for cursor in await store.cursors() if cursor.kind == "reaction"]
        runs = await store.runs(RunFilter(states=UNDER_WAY, limit=MANY))
        owner_of_pid = {row.pid: row.id for row in await store.workers()}
        owners = {owner_of_pid[member.pid] for member in self.members if member.pid in owner_of_pid}
        strikes = [(run.owner, STRIKES - run.crashes) for run in runs]
        strikes += [(cursor.owner, REACTION_STRIKES - cursor.crashes) for cursor in cursors]
        spared = {owner for owner, left in strikes if left <= 0}
        # What belongs to one that is gone or stands still will soon go to another, with one strike more.
        moving = any(left <= (owner is not None) for owner, left in strikes if owner not in owners)
        load = Counter(run.owner for run in runs)
        found = [
            (load[owner], member)
            for member in self.members[self._pausing :]
            if (owner := owner_of_pid.get(member.pid)) is not None and owner not in spared
        ]
        return [] if moving else [member for _, member in sorted(found, key=lambda one: -one[0])]

    async def _is_buried(self, pid: int) -> bool:
        loop = asyncio.get_running_loop()
        seen: dict[int, int] = {}
        moved_at = loop.time()
        while loop.time() - moved_at < STUCK_SECONDS:
            try:
                counters = {row.pid: row.counter for row in await shop.client.store.workers()}
            except StoreUnavailable:
                counters = {pid: -1}  # it tells nothing now
            if counters.pop(pid, None) is None:
                return True
            if counters != seen:
                seen, moved_at = counters, loop.time()
            await asyncio.sleep(LOOK_SECONDS)  # tidy: between two looks
        return False

    async def _start(self, role: Role) -> Child:
        self._started[role.name] += 1
        name = f"{role.name}-{self._started[role.name]}"
        options = ["--app", f"{role.module}:{role.app}"]
        if self._size > 1:
            server = is_postgres(os.environ.get("MOTET_STORE", ""))
            options += ["--lease", str(SERVER_LEASE_SECONDS if server else LEASE_SECONDS)]
        member = await self._processes.start(name, "worker", *options, variables=self._variables)
        self._role_of[member] = role
        self.members.append(member)
        return member


class Trouble:
    """Kills and pauses workers for as long as it runs. `enough` is set when there was some of both."""

    def __init__(self, crew: Crew, seed: int) -> None:
        self.enough = asyncio.Event()
        self._crew = crew
        self._random = random.Random(f"trouble {seed}")
        self._kills = 0
        self._pauses = 0

    async def run(self) -> None:
        """Until it is cancelled. One worker may stand still while another is killed."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pause_some())
            group.create_task(self._kill_some())

    async def _pause_some(self) -> None:
        while True:
            self._pauses += await self._crew.pause(await self._to_pause())
            self._count()
            await asyncio.sleep(self._random.uniform(*KILL_PAUSE_SECONDS))  # tidy: between two troubles

    async def _kill_some(self) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(*KILL_PAUSE_SECONDS))  # tidy: between two troubles
            await self._crew.replace(self._random.choice(await self._crew.victims()))
            self._kills += 1
            self._count()

    async def _to_pause(self) -> Child:
        """The busiest; among services, where each is busy in its own way, any."""
        victims = await self._crew.victims()
        return self._random.choice(victims) if self._crew.is_mixed else victims[0]

    def _count(self) -> None:
        if self._kills and self._pauses:
            self.enough.set()
