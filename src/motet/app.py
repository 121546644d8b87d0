"""The app: where everything of one program is declared and comes together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from motet.catalog import catalog_of, note_publishes
from motet.client import Client
from motet.config import Settings
from motet.declarations import Declarations, Module, warn_of_risks
from motet.drafting import Drafts
from motet.errors import ConfigError, DefinitionError, NotConnected
from motet.model.clock import SYSTEM, Clock
from motet.model.codec import check_text
from motet.model.event import ENGINE
from motet.model.keyring import Keyring
from motet.orchestration.definitions import Step, Workflow, in_workflow_body
from motet.orchestration.guard import install_guard, set_guard
from motet.runtime.expecting import Watching, watched_by
from motet.runtime.hooks import Hooks
from motet.runtime.loops import run
from motet.runtime.pruning import Pruning
from motet.runtime.reacting.service import Reacting, followed_by
from motet.runtime.session import Session
from motet.runtime.worker import Worker
from motet.sync import SyncClient
from motet.verbs import ClientVerbs
from motet.within import Within

log = logging.getLogger("motet")

Lifespan = Callable[["App"], AbstractAsyncContextManager[Any]]


class App(Declarations, ClientVerbs):
    """One program's workflows, steps and events, and the way to its store.

    Args:
        name: names are `app/name` in records; two apps may share a store.
        store: the store's address; by default MOTET_STORE, else `sqlite:///motet.db`.
        settings: everything else that can be set.
        keys: payloads are encrypted with these; by default those of MOTET_KEYS, else not at all.
        lifespan: a function of the app that returns an async context manager; a worker enters it before the
            first step runs, and what it yields is `app.resources` (pools, clients).
        clock: for tests.

    Raises:
        ConfigError: a setting cannot work.
    """

    def __init__(
        self, name: str, *, store: str | None = None, settings: Settings | None = None,
        keys: Keyring | None = None, lifespan: Lifespan | None = None, clock: Clock = SYSTEM,
    ) -> None:  # fmt: skip
        check_text(name, "an app's name")
        if "/" in name or "@" in name:
            raise ConfigError(f"app name {name!r}: names in records are app/name, so it may not hold '/' or '@'")
        if name == ENGINE:
            raise ConfigError(f"app name {name!r}: that is the source of the engine's own events; choose another")
        super().__init__(f"{name}/")
        self.name = name
        self.hooks = Hooks()
        self.sync = SyncClient(self, self.connect)
        self.resources: Any = None
        self._store = store
        self._settings = settings
        self._keys = keys
        self._lifespan: Lifespan | None = lifespan
        self._clock: Clock = clock
        self._client: Client | None = None
        self._risks_told = False

    @property
    def settings(self) -> Settings:
        """What holds now: what was given, else the environment, else the defaults."""
        return Settings.from_environment(self._store, self._settings, self._keys)

    def use_store(self, address: str) -> None:
        """Use this store, whatever was named before; for programs that take its address as an option.

        Raises:
            NotConnected: the app is connected already.
        """
        if self._client is not None:
            raise NotConnected(f"app '{self.name}' is connected already; choose the store before that")
        self._store = address

    def use_settings(self, settings: Settings) -> None:
        """Use these settings, whatever was given before; for programs that take some of them as options.

        Raises:
            NotConnected: the app is connected already.
        """
        if self._client is not None:
            raise NotConnected(f"app '{self.name}' is connected already; choose its settings before that")
        self._settings = settings

    @contextmanager
    def under(self, settings: Settings, clock: Clock, lifespan: Lifespan | None) -> Generator[None]:
        """For the test kit: while the block lasts, these hold instead of the app's own, the store's address too.

        Args:
            lifespan: None: the app's own.

        Raises:
            NotConnected: the app is connected already.
        """
        if self._client is not None:
            raise NotConnected(f"app '{self.name}' is connected already; leave that connection before this block")
        own = self._store, self._settings, self._clock, self._lifespan, self.resources
        self._store, self._settings, self._clock = settings.store, settings, clock
        self._lifespan = lifespan or self._lifespan
        try:
            yield
        finally:
            self._store, self._settings, self._clock, self._lifespan, self.resources = own

    def include(self, module: Module) -> Module:
        """Make a module's declarations the app's own, under the app's name.

        Raises:
            DuplicateName: the app has one of these names already.
            DefinitionError: another app includes the module.
        """
        definitions: set[Step[..., Any, Any] | Workflow[Any, Any]] = {
            *module.registry.steps.values(),
            *module.registry.every_workflow,
        }
        for definition in definitions:
            if "/" in definition.name and not definition.name.startswith(self._prefix):
                raise DefinitionError(f"{definition.name} belongs to another app; a module goes into one app")
            if "/" not in definition.name:
                definition.name = self._prefix + definition.name
        for queue in module.registry.queues.values():
            self.registry.add_queue(queue)
        for step in {id(step): step for step in module.registry.steps.values()}.values():
            self.registry.add_step(step)
        for workflow in module.registry.every_workflow:
            workflow.aliases = tuple(a if "/" in a else self._prefix + a for a in workflow.aliases)
            self.registry.add_workflow(workflow)
        self.registry.events.include(module.registry.events)
        self.expectations.include(module.expectations, self._prefix)
        self.reactions.include(module.reactions, self._prefix)
        self.reactions.keep_newest(self.registry.newest)
        return module

    @asynccontextmanager
    async def worker(self) -> AsyncGenerator[App]:
        """Drive runs in this process while the block lasts; creates the store if there is none.

        At the end of the block, running steps may finish for `Settings.drain_seconds`; the rest is released.
        """
        async with AsyncExitStack() as stack:
            if not self._risks_told:
                self._risks_told = True
                warn_of_risks(self.registry)
            session = await self._open(stack, create=True)
            if self._lifespan is not None:
                self.resources = await stack.enter_async_context(self._lifespan(self))
            watched = watched_by(self.expectations, self.registry)
            note_publishes(self.reactions, self.registry)
            followed = followed_by(self.reactions, self.registry.events)
            worker = Worker(session, lambda: catalog_of(self.registry))
            stack.push_async_callback(worker.stop)
            await worker.start()
            reacting = Reacting(worker, followed)
            stack.push_async_callback(reacting.stop)
            await reacting.start()
            watching = Watching(worker, watched)  # afterwards: reactions to what it announces are there by now
            stack.push_async_callback(watching.stop)
            await watching.start()
            if session.settings.prune_after_days is not None:
                pruning = Pruning(worker, session.settings.prune_after_days)
                stack.push_async_callback(pruning.stop)
                pruning.start()
            await self._connect(stack, session, worker)
            yield self

    @asynccontextmanager
    async def connect(self, *, create: bool = True) -> AsyncGenerator[App]:
        """Start, watch and steer runs from this process while the block lasts; driving them is for workers.

        Args:
            create: create the store if there is none; else that raises StoreMissing.
        """
        async with AsyncExitStack() as stack:
            session = await self._open(stack, create=create)
            await self._connect(stack, session, None)
            yield self

    async def _open(self, stack: AsyncExitStack, *, create: bool) -> Session:
        if self._client is not None:
            raise NotConnected(f"app '{self.name}' is connected already; use the connection that there is")
        settings = self.settings
        self.registry.prepare()
        if settings.development:
            install_guard(in_workflow_body)
            set_guard(True)
        session = Session(self.registry, settings, self._clock, self.hooks)
        await session.open(create=create)
        stack.push_async_callback(session.close)
        return session

    async def _connect(self, stack: AsyncExitStack, session: Session, worker: Worker | None) -> None:
        client = Client(session, worker, self._drafts())
        await client.open()
        stack.push_async_callback(client.close)
        self._client = client
        stack.callback(self._disconnect)

    def _disconnect(self) -> None:
        self._client = None

    @property
    def client(self) -> Client:
        """The open connection. Raises NotConnected."""
        if self._client is None:
            raise NotConnected(
                f"app '{self.name}' is not connected; use it inside 'async with {self.name}.worker():' or "
                f"'async with {self.name}.connect():' (scripts: {self.name}.sync)"
            )
        return self._client

    @property
    def within(self) -> Within:
        """What is started and published inside a transaction of the caller's; needs no connection of ours."""
        if self._client is not None:
            store = self._client.store
            return Within(self._client.drafts, store.address, store.identity, self._client.keys)
        self.registry.prepare()
        return Within(self._drafts(), self.settings.store, None, self.settings.keys)

    def _drafts(self) -> Drafts:
        return Drafts(self.registry, self.name, self._clock, self.settings.payload_limit_bytes)

    def run_worker(self) -> None:
        """Drive runs until interrupted; what `motet worker MODULE` does."""
        run(self._forever())

    async def _forever(self) -> None:
        async with self.worker():
            await asyncio.Event().wait()
