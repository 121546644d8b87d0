"""All definitions that one app knows, by the names that records use.

Of a workflow there may be several versions under one name: a run is driven by the one that it began with, and a name
alone means the newest.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

from motet.errors import DefinitionError, DuplicateName, UnknownWorkflow
from motet.model.event_types import EventTypes
from motet.model.run import DEFAULT_QUEUE, Version
from motet.orchestration.definitions import Compensation, Step, Workflow
from motet.orchestration.queues import Queue


class Registry:
    """Steps, workflows and event types of an app, with their aliases."""

    def __init__(self) -> None:
        self.steps: dict[str, Step[Any, Any, Any]] = {}
        self.workflows: dict[str, Workflow[Any, Any]] = {}  # the newest of each name
        self.versions: dict[Version, Workflow[Any, Any]] = {}
        self.queues: dict[str, Queue] = {}
        self.events = EventTypes()
        self._recorded_as: dict[str, Step[Any, Any, Any]] = {}
        self._fingerprint: str | None = None

    def add_step(self, step: Step[Any, Any, Any]) -> None:
        """Raises DuplicateName."""
        for name in (step.name, *step.aliases):
            if self.steps.setdefault(name, step) is not step:
                raise DuplicateName(f"two steps are named '{name}'; give one of them another name=")
        owner = self._recorded_as.setdefault(step.operation_name, step)
        if owner is not step:
            raise DuplicateName(
                f"steps {owner.name} and {step.name} would both be recorded as '{step.operation_name}'; "
                "an alias keeps its name for the runs in flight, so give the newer step another name="
            )

    def add_workflow(self, workflow: Workflow[Any, Any]) -> None:
        """Raises DuplicateName."""
        for name in (workflow.name, *workflow.aliases):
            if self.versions.setdefault(Version(name, workflow.version), workflow) is not workflow:
                raise DuplicateName(
                    f"two workflows are named '{name}' and have version {workflow.version}; give one of them another "
                    "name=, or the newer one a higher version="
                )
            if self.workflows.setdefault(name, workflow).version < workflow.version:
                self.workflows[name] = workflow

    @property
    def every_workflow(self) -> list[Workflow[Any, Any]]:
        """All versions of all workflows, older versions first."""
        unique = {id(workflow): workflow for workflow in self.versions.values()}
        return sorted(unique.values(), key=lambda workflow: workflow.version)

    def add_queue(self, queue: Queue) -> None:
        """Raises DuplicateName."""
        if self.queues.setdefault(queue.name, queue) is not queue:
            raise DuplicateName(f"queue '{queue.name}' is declared twice; declare it once and name it in workflows")

    @property
    def limits(self) -> dict[str, int | None]:
        """Of each declared queue: how many of its runs may be driven at the same time."""
        return {queue.name: queue.concurrency for queue in self.queues.values()}

    def include(self, other: Registry) -> None:
        """Take over all definitions of another registry; raises DuplicateName."""
        for queue in other.queues.values():
            self.add_queue(queue)
        for step in other.steps.values():
            self.add_step(step)
        for workflow in other.every_workflow:
            self.add_workflow(workflow)
        self.events.include(other.events)

    @property
    def newest(self) -> dict[str, int]:
        """By name, the newest version of each workflow."""
        return {name: workflow.version for name, workflow in self.workflows.items()}

    def version(self, name: str, version: int) -> Workflow[Any, Any]:
        """The very version that a run began with. Raises UnknownWorkflow, naming those that there are."""
        found = self.versions.get(Version(name, version))
        if found is None:
            there = ", ".join(f"v{known.version}" for known in self.versions if known.workflow == name)
            raise UnknownWorkflow(
                f"workflow {name} has no version {version} here; there is: {there or 'none of that name'}; keep the "
                "old function beside the new one, under the same name= and with its own version="
            )
        return found

    def reading(self, name: str, version: int) -> Workflow[Any, Any] | None:
        """For what is read of a run: its own version, else the newest of its name, if there is any."""
        return self.versions.get(Version(name, version)) or self.workflows.get(name)

    def recorded_as(self, operation: str) -> Step[Any, Any, Any] | None:
        """The step whose operations histories call so."""
        return self._recorded_as.get(operation)

    def meant(self, workflow: Workflow[Any, Any] | str) -> Workflow[Any, Any]:
        """Which one a start means: a definition of this app itself; by a name, the newest. Raises UnknownWorkflow."""
        if isinstance(workflow, str):
            return self.workflow(workflow)
        is_own = self.versions.get(Version(workflow.name, workflow.version)) is workflow
        return workflow if is_own else self.workflow(workflow.name)

    def successor(self, name: str, version: int, input: str | None) -> Workflow[Any, Any]:
        """Which version a run's next generation has: the newest that can read its input, and never an older one. Its
        fresh history binds it to nothing, and code that is kept for old runs could else never go.

        Raises:
            UnknownWorkflow: the present version is not here.
        """
        present = self.version(name, version)
        newer = [
            known for (other, _), known in self.versions.items() if other == name and known.version > present.version
        ]
        for known in sorted(newer, key=lambda known: -known.version):
            if known.reads(input):
                return known
        return present

    def workflow(self, name: str) -> Workflow[Any, Any]:
        """The newest of that name. Raises UnknownWorkflow, naming those that there are."""
        found = self.workflows.get(name)
        if found is None:
            ending = [known for full, known in self.workflows.items() if full.rpartition("/")[2] == name]
            if len(ending) == 1:
                return ending[0]
            known = ", ".join(sorted(self.workflows)) or "none"
            raise UnknownWorkflow(f"no workflow is named '{name}' here; known: {known}")
        return found

    def prepare(self) -> None:
        """Check every definition; raises DefinitionError."""
        for step in self.steps.values():
            step.prepare()
            if step.compensated_by is not None:
                step.compensated_by.prepare()
        for workflow in self.every_workflow:
            workflow.events = self.events
            workflow.prepare()
            if workflow.queue not in (DEFAULT_QUEUE, *self.queues):
                raise DefinitionError(
                    f"workflow {workflow.name} is for queue '{workflow.queue}', which is not declared; "
                    f"declare it: app.queue({workflow.queue!r}, concurrency=...)"
                )

    @property
    def fingerprint(self) -> str:
        """A digest of the source of every module that holds a definition: changed code has another one."""
        if self._fingerprint is None:
            self._fingerprint = _digest([*self._functions()])
        return self._fingerprint

    def _functions(self) -> list[Callable[..., Any]]:
        compensations: list[Compensation] = [
            step.compensated_by for step in self.steps.values() if step.compensated_by is not None
        ]
        definitions: list[Step[Any, Any, Any] | Compensation | Workflow[Any, Any]] = [
            *self.steps.values(),
            *compensations,
            *self.every_workflow,
        ]
        return [definition.function for definition in definitions]


def _digest(functions: list[Callable[..., Any]]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    modules = sorted({function.__module__ for function in functions})
    for name in modules:
        try:
            digest.update(inspect.getsource(sys.modules[name]).encode())
        except (OSError, TypeError, KeyError):  # no source at hand (a REPL, a frozen program): the code itself
            for function in functions:
                if function.__module__ == name:
                    digest.update(function.__code__.co_code)
    return digest.hexdigest()
