"""Was everything kept that Motet promises? Judged by the ledger.

Money, seats, repeats and the kill are read from the ledger's file alone (`outside.py`). From Motet itself comes only
what cannot be seen outside: what it accepted, what it says became of each, and which events it says that others have
heard. Each of these words is held against the ledger.

How an ended purchase is counted. Where it has one owner, that is how its run ended; where it has none, what its events
say (`chronicle.py`):

- `completed`: the learner has paid and has a seat.
- `declined`: failed with the bank's answer `CardDeclined`, or `payment.declined`; nothing was ever charged.
- `compensated`: failed in any other way (course full, enrollment out of service, replies lost to the end), or
  cancelled, or was refunded by whoever heard of it; what was done outside is undone.
- `blocked`: an incident that waits for a person. Here none may be left.

And the rest: `events` in the log; `reactions`, how often one has dealt with an event; `dead_letters` left for a person;
`expectations_missed`; and `noticed`, those of them whose purchase failed without anybody's having published that.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from .entries import Entry
from .outside import Outside, observe
from .protocol import Notice

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

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class StoryEnd:
    """What Motet's events say became of a purchase that nobody owns; `lost` where they do not say."""

    outcome: str

    @property
    def ended(self) -> bool:
        """Whether they say so."""
        return self.outcome not in ("lost", "blocked")


End = RunEnd | StoryEnd


OUTCOME_OF_STATE = {
    "completed": "completed",
    "failed": "compensated",
    "cancelled": "compensated",
    "blocked": "blocked",
}

ENDED = frozenset({"completed", "failed", "cancelled"})
"""States that a run does not leave."""


@dataclass(frozen=True, slots=True)
class Told:
    """What Motet says of its events; `notices` is how often each ought to have been done for each purchase."""

    events: int = 0
    reactions: int = 0
    dead_letters: int = 0
    expectations_missed: int = 0
    noticed: int = 0
    notices: Counter[tuple[Notice, str]] = field(default_factory=Counter[tuple[Notice, str]])


@dataclass(frozen=True, slots=True)
class Ways:
    """Who may do anything for a purchase of one style: these apps; and, with an owner, that run alone."""

    apps: frozenset[str]
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Switch:
    """From that purchase on, another style; so many that had begun before had not ended then."""

    at: int
    in_flight: int


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
    events: int
    reactions: int
    dead_letters: int
    expectations_missed: int
    noticed: int
    workers: int = 1
    worker_pauses: int = 0
    switched_at: int = 0
    in_flight_at_switch: int = 0

    def as_dict(self) -> dict[str, object]:
        """Return the numbers by name; a single worker is never paused, and nothing is said of that, nor of a switch
        that was not."""
        numbers = asdict(self)
        if self.workers == 1:
            del numbers["workers"], numbers["worker_pauses"]
        if not self.switched_at:
            del numbers["switched_at"], numbers["in_flight_at_switch"]
        return numbers


@dataclass(frozen=True, slots=True)
class Verdict:
    """The report, and in words each promise that was broken. Nothing broken means that all was kept."""

    report: Report
    broken: list[str] = field(default_factory=list[str])


def verify(
    entries: Sequence[Entry],
    accepted: Collection[str],
    ends: Mapping[str, End],
    *,
    in_flight_at_kill: int,
    seconds: float,
    workers: int = 1,
    processes: int = 1,
    told: Told | None = None,
    ways: Mapping[str, Ways] | None = None,
    switch: Switch | None = None,
) -> Verdict:
    """Compare what was accepted, how it ended and what happened outside; all by purchase id.

    Args:
        processes: how many drive the purchases, where there is one worker for each app.
        ways: of each purchase whose style is known.
    """
    told = told or Told()
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
        events=told.events,
        reactions=told.reactions,
        dead_letters=told.dead_letters,
        expectations_missed=told.expectations_missed,
        noticed=told.noticed,
        workers=workers,
        worker_pauses=outside.worker_pauses,
        switched_at=switch.at if switch else 0,
        in_flight_at_switch=switch.in_flight if switch else 0,
    )
    broken = [
        *_broken_sums(report),
        *_broken_fence(outside),
        *_broken_purchases(outcome_of, outside),
        *_broken_kill(report, processes),
        *_broken_notices(told, outside),
        *_broken_ways(ways or {}, outside),
        *_broken_switch(report),
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


def _broken_notices(told: Told, outside: Outside) -> Iterable[str]:
    """Every event reaches everybody who reacts to it; once, as a key that is honoured makes of at least once."""
    wrong = [
        f"{notice} for {purchase}: {outside.notices[notice, purchase]} instead of {told.notices[notice, purchase]}"
        for notice, purchase in sorted({*told.notices, *outside.notices})
        if outside.notices[notice, purchase] != told.notices[notice, purchase]
    ]
    if wrong:
        yield f"{len(wrong)} times somebody heard of a purchase too often or too seldom: {_some(wrong)}"


def _broken_ways(ways: Mapping[str, Ways], outside: Outside) -> Iterable[str]:
    """A purchase ends in the style in which it began, and one that is owned has one owner."""
    strange = sorted(p for p, way in ways.items() if not way.apps.issuperset(outside.callers.get(p, ())))
    if strange:
        yield f"{len(strange)} purchases did not end in the style that they began in: {_some(strange)}"
    shared = sorted(p for p, way in ways.items() if way.owner and not {way.owner}.issuperset(outside.lines.get(p, ())))
    if shared:
        yield f"{len(shared)} purchases had another owner than their run: {_some(shared)}"


def _broken_switch(report: Report) -> Iterable[str]:
    if report.switched_at and not report.in_flight_at_switch:
        yield "no purchase was in flight at the switch"


def _broken_kill(report: Report, processes: int) -> Iterable[str]:
    if report.workers == 1 and report.worker_kills != processes:
        times = "not once" if processes == 1 else f"not {processes} times, once each"
        yield f"the worker was killed {report.worker_kills} times, {times}"
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
