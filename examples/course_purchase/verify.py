"""Was everything kept that Motet promises? Judged by the ledger.

Money, seats, repeats and the kill are read from the ledger's file alone. From Motet itself comes only what
cannot be seen outside: which starts it accepted, and in which state each run ended.

How an ended run is counted:

- `completed`: the learner has paid and has a seat.
- `declined`: failed with the bank's answer `CardDeclined`; nothing was ever charged.
- `compensated`: failed in any other way (course full, enrollment out of service, replies lost to the end), or
  cancelled; what was done outside is undone.
- `blocked`: an incident that waits for a person. Here none may be left.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from .entries import Acknowledged, Attempt, Effect, Entry, Event, Mark
from .protocol import UNDOES, Operation

IN_FLIGHT_AT_LEAST = 10
UNANSWERED_AT_LEAST = 1


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What Motet says about one run: its state, and the class of the error that it failed with."""

    state: str
    error_type: str | None = None

    @property
    def outcome(self) -> str:
        """The name under which this run is counted; `lost` where it has not ended."""
        if self.state == "failed" and self.error_type == "CardDeclined":
            return "declined"
        return OUTCOME_OF_STATE.get(self.state, "lost")


OUTCOME_OF_STATE = {
    "completed": "completed",
    "failed": "compensated",
    "cancelled": "compensated",
    "blocked": "blocked",
}

ENDED = frozenset({"completed", "failed", "cancelled"})
"""States that a run does not leave."""


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome in numbers, in the order in which they are shown."""

    purchases: int
    completed: int
    declined: int
    compensated: int
    blocked: int
    charged: int
    enrolled: int
    removed: int
    refunded: int
    duplicate_effects: int
    repeated_steps: int
    lost: int
    worker_kills: int
    in_flight_at_kill: int
    unanswered_at_kill: int
    seconds: float
    workers: int = 1
    worker_pauses: int = 0

    def as_dict(self) -> dict[str, object]:
        """Return the numbers by name; a single worker is never paused, and nothing is said of that."""
        numbers = asdict(self)
        if self.workers == 1:
            del numbers["workers"], numbers["worker_pauses"]
        return numbers


@dataclass(frozen=True, slots=True)
class Verdict:
    """The report, and in words each promise that was broken. Nothing broken means that all was kept."""

    report: Report
    broken: list[str] = field(default_factory=list[str])


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


def verify(
    entries: Sequence[Entry],
    accepted: Collection[str],
    ends: Mapping[str, RunEnd],
    *,
    in_flight_at_kill: int,
    seconds: float,
    workers: int = 1,
) -> Verdict:
    """Compare what was accepted, how it ended and what happened outside; all by purchase id."""
    outside = observe(entries)
    outcome_of = {purchase: ends[purchase].outcome if purchase in ends else "lost" for purchase in accepted}
    outcomes = Counter(outcome_of.values())
    report = Report(
        purchases=len(accepted),
        completed=outcomes["completed"],
        declined=outcomes["declined"],
        compensated=outcomes["compensated"],
        blocked=outcomes["blocked"],
        charged=outside.effects["charge"],
        enrolled=outside.effects["enroll"],
        removed=outside.effects["remove"],
        refunded=outside.effects["refund"],
        duplicate_effects=outside.duplicate_effects,
        repeated_steps=outside.repeated_steps,
        lost=outcomes["lost"],
        worker_kills=outside.worker_kills,
        in_flight_at_kill=in_flight_at_kill,
        unanswered_at_kill=outside.unanswered_at_kill,
        seconds=round(seconds, 3),
        workers=workers,
        worker_pauses=outside.worker_pauses,
    )
    broken = [
        *_broken_sums(report),
        *_broken_fence(outside),
        *_broken_purchases(outcome_of, outside),
        *_broken_kill(report),
    ]
    return Verdict(report, broken)


def _broken_sums(report: Report) -> Iterable[str]:
    if report.lost:
        yield f"{report.lost} accepted purchases have no ended run: lost is {report.lost}, not 0"
    if report.blocked:
        yield f"{report.blocked} runs are blocked and wait for a person; none should be"
    paid = report.charged - report.refunded
    if paid != report.completed:
        yield f"charged - refunded is {paid}, but {report.completed} purchases completed"
    seated = report.enrolled - report.removed
    if seated != report.completed:
        yield f"enrolled - removed is {seated}, but {report.completed} purchases completed"
    if report.repeated_steps:
        yield f"{report.repeated_steps} attempts came after their step's record was durable: it ran again"
    if report.duplicate_effects:
        yield f"{report.duplicate_effects} effects were made twice outside"


def _broken_purchases(outcome_of: Mapping[str, str], outside: Outside) -> Iterable[str]:
    """Check each purchase alone: in the sums, one charged too often may hide one not charged at all."""
    wrong: list[str] = []
    for purchase, outcome in sorted(outcome_of.items()):
        expected = (1, 1) if outcome == "completed" else (0, 0)
        found = outside.balance.get(purchase, (0, 0))
        if outcome not in ("lost", "blocked") and found != expected:
            wrong.append(f"{purchase} {outcome} with {found[0]} payments and {found[1]} seats")
    if wrong:
        yield f"{len(wrong)} purchases ended otherwise than the ledger says: {_some(wrong)}"
    unknown = sorted(set(outside.balance).difference(outcome_of))
    if unknown:
        yield f"{len(unknown)} purchases are in the ledger whose start was never accepted: {_some(unknown)}"
    taken = sorted(p for p, outcome in outcome_of.items() if outcome == "declined" and p in outside.charged)
    if taken:
        yield f"{len(taken)} declined purchases were charged: {_some(taken)}"
    if outside.conflicting_keys:
        keys = sorted(outside.conflicting_keys)
        yield f"{len(keys)} idempotency keys were used for two things: {_some(keys)}"


def _broken_kill(report: Report) -> Iterable[str]:
    if report.workers == 1 and report.worker_kills != 1:
        yield f"the worker was killed {report.worker_kills} times, not once"
    if report.workers > 1 and not report.worker_kills:
        yield "no worker was killed"
    if report.workers > 1 and not report.worker_pauses:
        yield "no worker stood still until the others had declared it dead"
    if report.in_flight_at_kill < IN_FLIGHT_AT_LEAST:
        yield f"{report.in_flight_at_kill} runs were in flight at the kill, not {IN_FLIGHT_AT_LEAST} or more"
    if report.unanswered_at_kill < UNANSWERED_AT_LEAST:
        unanswered = report.unanswered_at_kill
        yield f"{unanswered} effects were unanswered at the kill, not {UNANSWERED_AT_LEAST} or more"


def _broken_fence(outside: Outside) -> Iterable[str]:
    if outside.stale_effects:
        yield f"{outside.stale_effects} effects were made by a worker that had been declared dead before"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _count_effects(attempts: Iterable[Attempt]) -> dict[Operation, int]:
    effects: dict[Operation, int] = {"charge": 0, "refund": 0, "enroll": 0, "remove": 0}
    for attempt in attempts:
        effects[attempt.operation] += len(attempt.effects)
    return effects


def _count_duplicates(attempts: Iterable[Attempt]) -> int:
    """Count effects beyond the first: a purchase is charged and enrolled once, and each effect is undone
    once.

    Counted by purchase and not by key: an engine that changes its keys makes duplicates that honest keys
    would hide.
    """
    made: Counter[tuple[str, str]] = Counter()
    for attempt in attempts:
        for effect in attempt.effects:
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
    newest: defaultdict[str, int] = defaultdict(int)
    repeated = 0
    for entry in entries:
        if isinstance(entry, Acknowledged):
            recorded.add(entry.key)
        elif isinstance(entry, Attempt):
            repeated += entry.key in recorded and entry.token >= newest[entry.purchase]
            newest[entry.purchase] = max(newest[entry.purchase], entry.token)
    return repeated


def _count_stale_effects(attempts: Iterable[Attempt]) -> int:
    """Count the effects of attempts whose token is older than one that was seen for the purchase before."""
    newest: defaultdict[str, int] = defaultdict(int)
    stale = 0
    for attempt in attempts:
        if attempt.token < newest[attempt.purchase]:
            stale += len(attempt.effects)
        newest[attempt.purchase] = max(newest[attempt.purchase], attempt.token)
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


def _conflicting_keys(attempts: Iterable[Attempt]) -> frozenset[str]:
    used_for: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for attempt in attempts:
        used_for[attempt.key].add((attempt.operation, attempt.purchase))
    return frozenset(key for key, uses in used_for.items() if len(uses) > 1)
