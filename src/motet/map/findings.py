"""What looks odd on the map. Each may be meant so: what is not in the source that could be read cannot be known."""

from __future__ import annotations

from collections.abc import Iterator

from motet.catalog import Ahead, Entry, line_of
from motet.choreography.patterns import Patterns
from motet.map.known import Known
from motet.map.policies import policies_of
from motet.map.sheet import (
    Finding,
    Seen,
    Sheet,
    Type,
    is_engine,
    types_of,
    waits_of,
)  # fmt: skip
from motet.model.event import ENGINE
from motet.model.expected import MISSED_EVENT
from motet.model.history import STEPS
from motet.publishers import publishes_of

_ENDS = tuple(f"{ENGINE}.run.{state}" for state in ("completed", "failed", "cancelled", "blocked"))
Graph = dict[str, set[str]]


def draw(known: Known) -> Sheet:
    """The map, with what looks odd on it."""
    types = types_of(known)
    seen = [Seen(cause, effect, by, count) for cause, effect, by, count in known.seen.caused if not is_engine(effect)]
    seen += [Seen(cause, workflow, None, count) for cause, workflow, count in known.seen.started]
    findings = [
        *_unheard(types), *_unpublished(known, types), *_cycles(known), *_cores_that_wait(known), *_last_steps(known),
    ]  # fmt: skip
    return Sheet(
        types, {name: note.events for name, note in sorted(known.reactions.items())},
        {name: entry.place for name, entry in sorted(known.workflows.items())}, policies_of(known), seen, findings,
    )  # fmt: skip


def _unheard(types: list[Type]) -> Iterator[Finding]:
    for one in types:
        if not (one.reactions or one.waits or one.triggers or one.answers):
            who = ", ".join(publisher.name for publisher in one.publishers)
            text = f"{who} publishes it, and nobody reacts to it" if who else "it is declared, and nobody uses it"
            place = next((publisher.place for publisher in one.publishers if publisher.place), None)
            yield Finding("nobody-reacts", one.name, text, place)


def _unpublished(known: Known, types: list[Type]) -> Iterator[Finding]:
    published = [one.name for one in types if one.publishers]
    for name, reaction in sorted(known.reactions.items()):
        for event in reaction.events:
            if not is_engine(event) and not any(Patterns([event]).match(one) for one in published):
                yield Finding(
                    "nobody-publishes", event, f"{name} reacts to it, and nobody publishes it", reaction.place
                )
    for name, note in sorted(known.expectations.items()):
        for event in (note.expected, note.after):
            if not is_engine(event) and event not in published:
                yield Finding(
                    "nobody-publishes", event, f"expectation {name} knows it, and nobody publishes it", note.place
                )
    for name, event, place in waits_of(known):
        if event not in published:
            yield Finding("nobody-publishes", event, f"{name} waits for it; maybe a person publishes it", place)


def _cycles(known: Known) -> Iterator[Finding]:
    graph = _graph(known)
    for cycle in _circles(graph):
        named = [name for name in cycle if name in known.reactions or name in known.workflows]
        note = known.reactions.get(named[0]) if named else None
        text = f"{' -> '.join([*cycle, cycle[0]])}: it goes round for ever, unless a filter or a condition ends it"
        yield Finding("cycle", cycle[0], text, note.place if note is not None else None)


def _graph(known: Known) -> Graph:
    """From events to who does something at them, from there to what that publishes."""
    graph: Graph = {}
    for who, event, _, _ in publishes_of(known.workflows, known.reactions):
        graph.setdefault(who, set()).add(event)
    for name, entry in known.workflows.items():
        graph.setdefault(name, set()).update(_ENDS)
        app = name.partition("/")[0]
        graph[name] |= {f"{app}/{child}" for item in entry.ahead if item.kind == "child" for child in item.names}
    for note in known.expectations.values():
        graph.setdefault(note.after, set()).add(MISSED_EVENT)
        if note.remedy is not None:
            graph[note.after].add(note.remedy)
    for event in {event for events in list(graph.values()) for event in events}:
        for name, reaction in known.reactions.items():
            if Patterns(reaction.events).match(event):
                graph.setdefault(event, set()).add(reaction.starts or name)
    return graph


def _circles(graph: Graph) -> Iterator[list[str]]:
    """One way round for each knot of names that all lead to one another."""
    done: set[str] = set()
    for start in sorted(graph):
        if start in done:
            continue
        way = _way_back(graph, start)
        if way is not None:
            done |= {name for name in _reached(graph, start) if start in _reached(graph, name)}
            yield way


def _reached(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for after in graph.get(waiting.pop(), ()):
            if after not in found:
                found.add(after)
                waiting.append(after)
    return found


def _way_back(graph: Graph, start: str) -> list[str] | None:
    """The shortest way from a name to itself."""
    ways: list[list[str]] = [[start]]
    seen: set[str] = set()
    for way in ways:
        for after in sorted(graph.get(way[-1], ())):
            if after == start:
                return way
            if after not in seen:
                seen.add(after)
                ways.append([*way, after])
    return None


def _cores_that_wait(known: Known) -> Iterator[Finding]:
    """A workflow that cannot go on before a reaction has published something."""
    makers: dict[str, set[str]] = {}
    for who, event, _, _ in publishes_of(known.workflows, known.reactions):
        makers.setdefault(event, set()).add(who)
    for event, source, _ in known.seen.published:
        makers.setdefault(event, set()).add(source)
    for name, event, place in waits_of(known):
        edges = sorted(makers.get(event, set()) & set(known.reactions))
        if edges and not makers[event] - set(edges):
            text = (
                f"{name} waits for {event}, which only {', '.join(edges)} publishes: when its edge fails, the core "
                "stands still until the wait's timeout; it may better be a step"
            )
            yield Finding("core-waits-for-edge", name, text, place)


def _last_steps(known: Known) -> Iterator[Finding]:
    for name, entry in sorted(known.workflows.items()):
        last = _last_step(entry)
        if last is not None:
            text = (
                f"{name} ends with {last.name}, which nothing undoes: if it fails, all before it is undone; if nobody "
                "needs its result, publish an event and let it be a reaction"
            )
            yield Finding("could-be-a-reaction", name, text, line_of(entry.place, last))


def _last_step(entry: Entry) -> Ahead | None:
    """The last thing that a workflow does, if it is a step without a compensation behind one that has one."""
    works = [item for item in entry.ahead if item.kind not in ("publish", "sleep")]
    if not works or works[-1].kind != "step" or works[-1].name not in entry.steps:
        return None
    before = [entry.steps[item.name] for item in works[:-1] if item.kind in STEPS and item.name in entry.steps]
    pivoted = any(item.kind == "pivot" for item in works)
    undone = any(step.compensation is not None for step in before)
    return works[-1] if undone and not pivoted and entry.steps[works[-1].name].compensation is None else None
