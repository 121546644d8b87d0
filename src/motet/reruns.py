"""Reruns: what a client reads and checks before a new run may keep the history of another one. Writes nothing."""

from __future__ import annotations

from types import EllipsisType
from typing import Any

from motet.errors import NotPossible, RunNotFound, UnknownWorkflow, WrongType
from motet.model.clock import Clock
from motet.model.codec import check_text, encode
from motet.model.history import Recorded
from motet.model.run import Run
from motet.orchestration.definitions import Workflow
from motet.orchestration.registry import Registry
from motet.rehearsal.rehearsing import rehearse
from motet.rehearsal.rerunning import Relative, draft, family_of, first_of, kept_before, refuse_undone
from motet.runtime.carrying import PYTHON
from motet.store.protocol import Reading, RunFilter

PAGE = 500


class Reruns:
    """Of one store, by one program; its code is asked where it has the run's version."""

    def __init__(self, store: Reading, registry: Registry, clock: Clock, limit: int) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._limit = limit

    async def draft(
        self, id: str, step: str, input: Any | EllipsisType, new_id: str | None
    ) -> tuple[Run, list[Recorded]]:
        """The new run, and the history that it brings along.

        Raises:
            RunNotFound.
            NotPossible: what is kept would be undone twice, or does not fit; or there is no such step.
            BadValue: the input or the id cannot be recorded.
        """
        source = await self._store.run(check_text(id, "a run's id"))
        if source is None:
            raise RunNotFound(f"there is no run '{id}'; 'motet runs' lists those that there are")
        history = (await self._store.histories([(source.uid, source.generation)]))[source.uid]
        first = first_of(source, history, step)
        kept = kept_before(source, history, first)
        family = family_of(source, await self._conversation(source.conversation))
        histories = await self._store.histories([(run.uid, run.generation) for run in family])
        refuse_undone(source, kept, [Relative(run, histories[run.uid]) for run in family])
        if new_id is None:
            new_id = f"{source.id}/rerun-{sum(run.origin is not None for run in family) + 1}"
        payload = source.input if isinstance(input, EllipsisType) else self._input(source, input)
        by = {"python": PYTHON, "fingerprint": self._registry.fingerprint}
        run, rows = draft(
            source, kept, first, check_text(new_id, "a run's id"), payload, self._clock.now(), by
        )  # fmt: skip
        self._check(run, rows, first)
        return run, rows

    async def _conversation(self, conversation: str) -> list[Run]:
        found: list[Run] = []
        before: str | None = None
        while True:
            page = await self._store.runs(RunFilter(conversation=conversation, limit=PAGE, before=before))
            found += page
            if len(page) < PAGE:
                return found
            before = page[-1].uid

    def _input(self, source: Run, input: Any) -> str | None:
        what = f"the input of the rerun of '{source.id}'"
        workflow = self._code_of(source)
        if workflow is None:
            return encode(input, what, self._limit)
        if workflow.input is None:
            if input is not None:
                raise WrongType(f"workflow {workflow.name} takes no input; rerun it without one")
            return None
        text = encode(input, what, self._limit)
        workflow.input.decode(text, what)
        return text

    def _code_of(self, source: Run) -> Workflow[Any, Any] | None:
        try:
            return self._registry.version(source.workflow, source.version)
        except UnknownWorkflow:
            return None

    def _check(self, run: Run, rows: list[Recorded], first: Recorded) -> None:
        """With the code at hand: what is kept has to fit, or the new run would be blocked at once."""
        if self._code_of(run) is None:
            return
        found = next((one for one in rehearse(run, rows, self._registry).differences if one.fatal), None)
        if found is not None:
            raise NotPossible(
                f"what is recorded before {first.op} does not fit this code and input: {found.recorded}; {found.code}"
            )
