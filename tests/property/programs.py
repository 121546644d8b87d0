"""Small random workflows: programs as data, a workflow that runs them, and strategies that make them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from motet import App, Flow, Retry
from motet.orchestration.definitions import Step

Program = list[Any]
"""A verb and its arguments, such as `["gather", [["step", "a"], ["sleep", 2]]]`."""

app = App("random")


class Declared(Exception):
    pass


@dataclass
class Round:
    """The input of a generation: what is left of a run that restarts."""

    programs: list[Any]


_retry = Retry(attempts=2, first=1, factor=1, jitter=0)


@app.step(retry=_retry, raises=[Declared])
async def a() -> int:
    raise AssertionError("the house decides what happens")


@a.compensation(retry=_retry)
async def undo_a(result: int | None) -> None: ...


@app.step(retry=_retry)
async def b() -> int:
    raise AssertionError("the house decides what happens")


@b.compensation(retry=_retry)
async def undo_b(result: int) -> None:
    """Cannot be called when nobody knows whether the step happened."""


@app.step(retry=Retry(attempts=1), raises=[Declared])
def c() -> int:
    raise AssertionError("the house decides what happens")


STEPS: dict[str, Step[[], int, Any]] = {"a": a, "b": b, "c": c}


@app.workflow(raises=[Declared])
async def run_program(flow: Flow, round: Round) -> Any:
    return await _Interpreter(flow, round.programs[1:]).main(round.programs[0])


@app.workflow(raises=[Declared])
async def run_part(flow: Flow, program: list[Any]) -> Any:
    await flow.sleep(1)  # what takes no time at all would race with its parent's other work in the same tick
    return await _Interpreter(flow, []).main(program)


class Code:
    """Which code is deployed: the old one does not know of any changes."""

    knows_changes = True


class _Interpreter:
    def __init__(self, flow: Flow, later: list[Program]) -> None:
        self.flow = flow
        self.later = later
        self.spawned: list[asyncio.Task[Any]] = []

    async def main(self, program: Program) -> Any:
        result = await self.run(program)
        if self.later:
            self.flow.restart(Round(self.later))
        return result

    async def run(self, program: Program) -> Any:
        verb, *rest = program
        return await getattr(self, f"do_{verb}")(*rest)

    async def do_seq(self, parts: list[Program]) -> Any:
        return [await self.run(part) for part in parts]

    async def do_step(self, name: str) -> Any:
        return await self.flow.step(STEPS[name])

    async def do_sleep(self, ticks: int) -> Any:
        await asyncio.sleep(ticks)  # tidy: a durable timer
        return self.flow.now().isoformat()

    async def do_publish(self, number: int) -> Any:
        self.flow.publish(f"number.{number}", {"random": self.flow.random(), "now": self.flow.now()})
        return None

    async def do_note(self, text: str) -> Any:
        self.flow.note(text)
        return str(self.flow.uuid())

    async def do_gather(self, parts: list[Program], collect: bool) -> Any:
        found = await asyncio.gather(*(self.run(part) for part in parts), return_exceptions=collect)
        return [_shown(one) for one in found]

    async def do_group(self, parts: list[Program]) -> Any:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.run(part)) for part in parts]
        return [task.result() for task in tasks]

    async def do_race(self, parts: list[Program]) -> Any:
        tasks = [asyncio.create_task(self.run(part)) for part in parts]
        done, pending = await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
        for task in pending:
            task.cancel()
        return sorted(_shown(task.exception()) or "done" for task in done)

    async def do_timeout(self, ticks: int, part: Program) -> Any:
        async with asyncio.timeout(ticks):
            return await self.run(part)

    async def do_catch(self, part: Program, handler: Program) -> Any:
        try:
            return await self.run(part)
        except Exception as error:
            return [_shown(error), await self.run(handler)]

    async def do_finally(self, part: Program, cleanup: Program) -> Any:
        try:
            return await self.run(part)
        finally:
            await self.run(cleanup)

    async def do_scope(self, part: Program) -> Any:
        async with self.flow.scope():
            return await self.run(part)

    async def do_shield(self, part: Program) -> Any:
        return await asyncio.shield(asyncio.ensure_future(self.run(part)))

    async def do_spawn(self, part: Program) -> Any:
        self.spawned.append(asyncio.create_task(self.run(part)))
        await asyncio.sleep(0)

    async def do_fail(self, declared: bool) -> Any:
        raise Declared if declared else ValueError("of the body")

    async def do_pivot(self) -> Any:
        self.flow.pivot()

    async def do_change(self, name: str, new: Program, old: Program) -> Any:
        if Code.knows_changes and self.flow.changed(name):
            return ["new", await self.run(new)]
        return await self.run(old)

    async def do_child(self, part: Program) -> Any:
        return await self.flow.child(run_part, part)

    async def do_detached(self, part: Program) -> Any:
        return await self.flow.child(run_part, part, detached=True)


def _shown(value: Any) -> Any:
    return type(value).__name__ if isinstance(value, BaseException) else value


# --- strategies ---------------------------------------------------------------------------------------------------

_ticks = st.integers(1, 6)
_step = st.sampled_from([["step", "a"], ["step", "b"], ["step", "c"]])
_leaf = st.one_of(
    _step,
    _step,
    _step,
    _step,
    st.tuples(st.just("sleep"), _ticks).map(list),
    st.tuples(st.just("publish"), st.integers(0, 3)).map(list),
    st.tuples(st.just("note"), st.sampled_from(["half", "nearly"])).map(list),
    st.tuples(st.just("fail"), st.booleans()).map(list),
    st.just(["pivot"]),
)


def _grow(part: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    parts = st.lists(part, min_size=2, max_size=4)
    sequence = st.tuples(st.just("seq"), parts).map(list)
    return st.one_of(
        sequence,
        sequence,
        st.tuples(st.just("gather"), parts, st.booleans()).map(list),
        st.tuples(st.just("group"), parts).map(list),
        st.tuples(st.just("race"), parts).map(list),
        st.tuples(st.just("timeout"), _ticks, sequence).map(list),
        st.tuples(st.just("catch"), sequence, part).map(list),
        st.tuples(st.just("finally"), sequence, part).map(list),
        st.tuples(st.just("scope"), sequence).map(list),
        st.tuples(st.just("shield"), sequence).map(list),
        st.tuples(st.just("spawn"), sequence).map(list),
        st.tuples(st.just("child"), sequence).map(list),
        st.tuples(st.just("detached"), sequence).map(list),
        st.tuples(st.just("change"), st.sampled_from("xy"), sequence, part).map(list),
    )


_programs = st.lists(st.recursive(_leaf, _grow, max_leaves=12), min_size=2, max_size=5)
rounds: st.SearchStrategy[list[Program]] = st.lists(_programs.map(lambda parts: ["seq", parts]), min_size=1, max_size=2)
