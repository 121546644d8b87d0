"""What happened outside, read from the ledger's file alone: effects, repeats, kills, and what is left standing."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from .entries import Acknowledged, Attempt, Effect, Entry, Event, Mark
from .protocol import NOTICES, PURCHASING, UNDOES, Notice, Operation


@dataclass(frozen=True, slots=True)
class Outside:
    """What happened outside, as the ledger's entries tell it."""

    effects: dict[Operation, int]
    duplicate_effects: int
    repeated_steps: int
    worker_kills: int
    worker_pauses: int
    stale_effects: int
    unanswered_at_kill: int
    balance: dict[str, tuple[int, int]]
    """Per purchase: charges not refunded, seats not removed."""
    charged: frozenset[str]
    """Purchases that were charged at any time."""
    conflicting_keys: frozenset[str]
    notices: Counter[tuple[Notice, str]]
    """How often each was done for each purchase."""
    lines: dict[str, frozenset[str]]
    """Per purchase: the runs and reactions that asked for money or seats."""
    callers: dict[str, frozenset[str]]
    """Per purchase: the apps that asked for anything."""


def observe(entries: Sequence[Entry]) -> Outside:
    """Read the ledger's story."""
    attempts = [entry for entry in entries if isinstance(entry, Attempt)]
    return Outside(
        effects=_count_effects(attempts),
        duplicate_effects=_count_duplicates(attempts),
        repeated_steps=_count_repeated(entries),
        worker_kills=_count_marks(entries, "worker_killed"),
        worker_pauses=_count_marks(entries, "worker_paused"),
        stale_effects=_count_stale_effects(attempts),
        unanswered_at_kill=_count_unanswered(entries),
        balance=_balance(attempts),
        charged=frozenset(
            attempt.purchase for attempt in attempts if attempt.operation == "charge" and attempt.effects
        ),
        conflicting_keys=_conflicting_keys(attempts),
        notices=_count_notices(attempts),
        lines=_by_purchase((a.purchase, a.line) for a in attempts if a.operation in PURCHASING),
        callers=_by_purchase((a.purchase, a.caller) for a in attempts),
    )


def in_flight(entries: Iterable[Entry], ended: Collection[str]) -> int:
    """Return how many purchases had reached the outside world before the kill, of those that had not ended
    then.

    `ended` are the purchases whose runs had ended when the worker was dead. A run that was only accepted, and
    of which the ledger has seen nothing, does not count: killing it proves little.
    """
    reached: set[str] = set()
    for entry in entries:
        if isinstance(entry, Mark) and entry.event == "worker_killed":
            break
        if isinstance(entry, Attempt):
            reached.add(entry.purchase)
    return len(reached.difference(ended))


def _count_effects(attempts: Iterable[Attempt]) -> dict[Operation, int]:
    effects: dict[Operation, int] = dict.fromkeys((*PURCHASING, *NOTICES), 0)
    for attempt in attempts:
        effects[attempt.operation] += len(attempt.effects)
    return effects


def _count_duplicates(attempts: Iterable[Attempt]) -> int:
    """Count effects beyond the first: a purchase is charged and enrolled once, and each effect is undone
    once.

    Counted by purchase and not by key: an engine that changes its keys makes duplicates that honest keys
    would hide. Of notices, a purchase may have several: how many is known to who knows the style.
    """
    made: Counter[tuple[str, str]] = Counter()
    for attempt in attempts:
        for effect in attempt.effects if attempt.operation in PURCHASING else ():
            made[attempt.operation, _made_for(attempt, effect)] += 1
    return sum(made.values()) - len(made)


def _made_for(attempt: Attempt, effect: Effect) -> str:
    return attempt.purchase if effect.undoes is None else effect.undoes


def _count_repeated(entries: Iterable[Entry]) -> int:
    """Count the attempts that came after their step's record, but for those of a worker that stood still meanwhile.

    Nobody can call back a request that a process was about to send when it was stopped. What such a request must
    not do is change anything: see `_count_stale_effects`.
    """
    recorded: set[str] = set()
    newest: defaultdict[tuple[str, str], int] = defaultdict(int)
    repeated = 0
    for entry in entries:
        if isinstance(entry, Acknowledged):
            recorded.add(entry.key)
        elif isinstance(entry, Attempt):
            line = entry.purchase, entry.line
            repeated += entry.key in recorded and entry.token >= newest[line]
            newest[line] = max(newest[line], entry.token)
    return repeated


def _count_stale_effects(attempts: Iterable[Attempt]) -> int:
    """Count the effects of attempts whose token is older than one that was seen for the purchase before.

    Tokens count the owners of a run, or of a reaction; where several of them serve one purchase, each has its own.
    That an orchestrated purchase is served by one alone is checked beside this (`Outside.lines`).
    """
    newest: defaultdict[tuple[str, str], int] = defaultdict(int)
    stale = 0
    for attempt in attempts:
        line = attempt.purchase, attempt.line
        if attempt.token < newest[line]:
            stale += len(attempt.effects)
        newest[line] = max(newest[line], attempt.token)
    return stale


def _count_marks(entries: Iterable[Entry], event: Event) -> int:
    return sum(isinstance(entry, Mark) and entry.event == event for entry in entries)


def _count_unanswered(entries: Iterable[Entry]) -> int:
    """Count the effects that were done with the reply withheld, and not yet released, when the worker was
    killed."""
    unanswered: set[str] = set()
    for entry in entries:
        if isinstance(entry, Attempt) and entry.reply == "withheld":
            unanswered.update(effect.id for effect in entry.effects)
        elif isinstance(entry, Mark) and entry.event == "released":
            unanswered.clear()
        elif isinstance(entry, Mark) and entry.event == "worker_killed":
            return len(unanswered)
    return 0


def _balance(attempts: Iterable[Attempt]) -> dict[str, tuple[int, int]]:
    count: defaultdict[str, Counter[Operation]] = defaultdict(Counter)
    for attempt in attempts:
        standing = UNDOES.get(attempt.operation)
        if standing is None:
            count[attempt.purchase][attempt.operation] += len(attempt.effects)
        else:
            count[attempt.purchase][standing] -= len(attempt.effects)
    return {purchase: (left["charge"], left["enroll"]) for purchase, left in count.items()}


def _count_notices(attempts: Iterable[Attempt]) -> Counter[tuple[Notice, str]]:
    made: Counter[tuple[Notice, str]] = Counter()
    for attempt in attempts:
        for notice in NOTICES:
            if attempt.operation == notice and attempt.effects:
                made[notice, attempt.purchase] += len(attempt.effects)
    return made


def _by_purchase(pairs: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for purchase, name in pairs:
        found[purchase].add(name)
    return {purchase: frozenset(names) for purchase, names in found.items()}


def _conflicting_keys(attempts: Iterable[Attempt]) -> frozenset[str]:
    used_for: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for attempt in attempts:
        used_for[attempt.key].add((attempt.operation, attempt.purchase))
    return frozenset(key for key, uses in used_for.items() if len(uses) > 1)
