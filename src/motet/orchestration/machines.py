"""A machine for a run, from its row."""

from __future__ import annotations

from motet.model.codec import plain
from motet.model.origin import read_origin
from motet.model.run import Run
from motet.orchestration.machine import Identity, Machine
from motet.orchestration.registry import Registry


def machine_for(run: Run, registry: Registry, payload_limit: int) -> Machine:
    """One that has not started. Raises UnknownWorkflow: the run's version is not here."""
    workflow = registry.version(run.workflow, run.version)
    origin = read_origin(run.origin) if run.generation == 1 else None
    kept = origin.kept if origin is not None else ()
    identity = Identity(run.uid, run.generation, run.id, run.conversation, kept)
    machine = Machine(workflow, registry, identity, run.input, run.started_at, payload_limit)
    if run.consumed is not None:
        machine.consumed = plain(run.consumed)
    return machine
