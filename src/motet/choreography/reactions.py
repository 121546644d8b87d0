"""Reactions as users declare them: which events, which function, and what happens when it fails."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from motet.choreography.expectations import Start
from motet.choreography.patterns import Patterns
from motet.errors import DefinitionError, DuplicateName
from motet.model.clock import Duration, Micros, from_datetime, seconds
from motet.model.codec import check_text
from motet.model.event import Event
from motet.model.event_types import EventTypes
from motet.model.policy import Retry
from motet.store.protocol import Subscription

Filter = Callable[[Event[Any]], bool]
Handler = Callable[..., Awaitable[Any] | Any]

REACTION_RETRY = Retry(attempts=8, first=0.5, cap=300.0)
CONCURRENCY = 10


class ReactionNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the store keeps of a reaction for those who do not have its code.

    Args:
        events: names, and patterns.
        starts: the workflow that each event starts.
        timeout: seconds; None: what the settings say, or none.
        place: where it is declared, as `shop/flows.py:42`.
        publishes: what its handler publishes, as far as its source tells.
        since: from which time it wanted events when it began, 0 from the beginning; None: from then on.
    """

    events: tuple[str, ...]
    starts: str | None = None
    attempts: int | None = None
    hold: bool = False
    transaction: bool = False
    filtered: bool = False
    place: str | None = None
    since: Micros | None = None
    publishes: tuple[str, ...] = ()
    timeout: float | None = None


_decoder = msgspec.json.Decoder(ReactionNote)


def read_note(definition: str) -> ReactionNote:
    """What a cursor's definition says of its reaction."""
    return _decoder.decode(definition)


class Reaction:
    """A subscription with its handler. Called as the plain function that it is, so that it is testable without Motet.

    Declared with `@app.on(...)`, or by a workflow that an event starts.
    """

    def __init__(
        self, name: str, events: Sequence[type | str], function: Handler, *, filter: Filter | None = None,
        retry: Retry = REACTION_RETRY, timeout: Duration | None = None, default_timeout: bool = True,
        concurrency: int = CONCURRENCY, hold: bool = False, start: Start = "now", transaction: bool = False,
        aliases: Sequence[str] = (), place: str | None = None,
    ) -> None:  # fmt: skip
        """Raises DefinitionError: it cannot work."""
        self.name = name
        self.events = tuple(events)
        self.function = function
        self.filter = filter
        self.retry = retry
        self.timeout: float | None = None if timeout is None else seconds(timeout)
        self.default_timeout = default_timeout and timeout is None
        self.concurrency = concurrency
        self.hold = hold
        self.transaction = transaction
        self.aliases = tuple(aliases)
        self.place = place
        self.handler = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.starts: str | None = None
        self.version = 1  # of the workflow that it starts, where it is declared
        self.publishes: tuple[str, ...] = ()
        self.start: Literal["now", "beginning"] | Micros = self._start(start)
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", name)
        self.__wrapped__ = function
        self._check()

    def _check(self) -> None:
        if not self.events:
            raise DefinitionError(f"reaction {self.name}: name the events that it is for: @app.on('order.placed')")
        if self.concurrency < 1:
            raise DefinitionError(f"reaction {self.name}: concurrency is {self.concurrency}; it must be 1 or more")
        if self.timeout is not None and self.timeout <= 0:
            raise DefinitionError(f"reaction {self.name}: timeout is {self.timeout}; it must be above 0")

    @classmethod
    def starting(
        cls, workflow: str, name: str, events: Sequence[type | str], id: Callable[[Event[Any]], str] | None,
        handler: Handler, version: int = 1, **options: Any,
    ) -> Reaction:  # fmt: skip
        """One that starts a run of this workflow for each event. Of several versions, the newest says which events."""
        bare = workflow.rpartition("/")[2]

        def own_id(event: Event[Any]) -> str:
            return f"{bare}:{event.id}"

        reaction = cls(name, events, id or own_id, **options)
        reaction.starts = workflow
        reaction.version = version
        reaction.handler = handler
        reaction.__name__, reaction.__doc__ = getattr(handler, "__name__", name), handler.__doc__
        return reaction

    def _start(self, start: Any) -> Literal["now", "beginning"] | Micros:
        if start in ("now", "beginning"):
            return "now" if start == "now" else "beginning"
        if isinstance(start, datetime) and start.tzinfo is not None:
            return from_datetime(start)
        raise DefinitionError(
            f"reaction {self.name}: start is {start!r}; it must be 'now', 'beginning' or a datetime with a time zone"
        )

    def patterns(self, types: EventTypes) -> Patterns:
        """Raises DefinitionError: a class is not declared as an event."""
        return Patterns([self._type(event, types) for event in self.events])

    def _type(self, event: type | str, types: EventTypes) -> str:
        if isinstance(event, str):
            return check_text(event, "an event's name")
        declared = types.by_class.get(event)
        if declared is None:
            raise DefinitionError(
                f"reaction {self.name}: {getattr(event, '__name__', event)!r} is not a declared event; decorate the "
                "class with @app.event('...'), or give a name"
            )
        return declared.name

    def subscription(self, types: EventTypes) -> Subscription:
        """How the store knows it."""
        note = ReactionNote(
            self.patterns(types).texts, self.starts, self.retry.attempts, self.hold, self.transaction,
            self.filter is not None, self.place, self._since(), self.publishes, self.timeout,
        )  # fmt: skip
        text = msgspec.json.encode(note).decode()
        return Subscription(self.name, "reaction", text, self.start, tuple(reversed(self.aliases)))

    def _since(self) -> Micros | None:
        if self.start == "now":
            return None
        return 0 if self.start == "beginning" else self.start

    def __call__(self, *args: Any) -> Any:
        """The plain function."""
        return self.handler(*args)

    def __repr__(self) -> str:
        return f"<reaction {self.name}>"


def takes_flow(function: Handler, *, transaction: bool, name: str) -> bool:
    """Whether a handler takes `(flow, event)`. Raises DefinitionError: it takes neither that nor what it should."""
    parameters = list(inspect.signature(function).parameters.values())
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    wanted = "(event, connection)" if transaction else "(event) or (flow, event)"
    if len(positional) != len(parameters) or len(positional) not in ((2,) if transaction else (1, 2)):
        takes = ", ".join(map(str, parameters))
        raise DefinitionError(f"reaction {name} takes ({takes}); it must take {wanted}")
    return len(positional) == 2 and not transaction


def _starts_the_same(one: Reaction, other: Reaction) -> bool:
    """Whether both start the same workflow, under whatever name it has had."""
    if one.starts is None or other.starts is None:
        return False
    return not {one.starts, *one.aliases}.isdisjoint((other.starts, *other.aliases))


class Reactions:
    """Those of an app or module, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Reaction] = {}

    def add(self, reaction: Reaction) -> None:
        """Raises DuplicateName."""
        others = [held for held in self if held.version != reaction.version and _starts_the_same(held, reaction)]
        if any(held.version > reaction.version for held in others):
            return
        for held in others:
            self._drop(held)
        for name in (reaction.name, *reaction.aliases):
            if self._by_name.setdefault(name, reaction) is not reaction:
                raise DuplicateName(f"two reactions are named '{name}'; give one of them another name=")

    def include(self, other: Reactions, prefix: str) -> None:
        """Take over those of a module, under the app's name. Raises DuplicateName."""
        for reaction in other:
            if "/" not in reaction.name:
                reaction.name = prefix + reaction.name
            if reaction.starts is not None and "/" not in reaction.starts:
                reaction.starts = prefix + reaction.starts
            reaction.aliases = tuple(a if "/" in a else prefix + a for a in reaction.aliases)
            self.add(reaction)

    def keep_newest(self, newest: Mapping[str, int]) -> None:
        """Drop those that older versions of a workflow declare: what starts its runs is said by the newest.

        Args:
            newest: by workflow.
        """
        for reaction in list(self):
            if reaction.starts is not None and reaction.version < newest.get(reaction.starts, 0):
                self._drop(reaction)

    def _drop(self, reaction: Reaction) -> None:
        self._by_name = {name: held for name, held in self._by_name.items() if held is not reaction}

    def __iter__(self) -> Iterator[Reaction]:
        return iter({id(reaction): reaction for reaction in self._by_name.values()}.values())

    def __len__(self) -> int:
        return sum(1 for _ in self)
