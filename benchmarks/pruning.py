"""Pruning on both stores: how fast what is over goes, and what looking over runs takes that are all open.

The rows are written through the store, as batches of a worker's. Then one pruner removes what has ended, with its usual
breaths between two transactions, while nobody else is at work; and one looks over a store in which nothing may go.
"""

import time
from typing import Any

from benchmarks.frame import Found, Frame, address
from benchmarks.postgres import served
from motet.model.clock import SECOND, SYSTEM
from motet.runtime.pruning import Pruner
from motet.store.mutations import EndRun, Mutation
from motet.store.open import store_at
from motet.testing.conformance.records import a_fact, an_event, owned_run
from motet.testing.conformance.setting import Scribe

TITLE = "Pruning"
ENDED, OPEN = 20_000, 200_000
FACTS = 3
AT_ONCE = 500
PAYLOAD = f'"{"x" * 98}"'


async def prune(given: Found) -> Found:
    """The probe: `store`, `ended`, `open`."""
    store = store_at(address(given["store"]), SYSTEM)
    await store.open(create=True)
    worker = await Scribe.register(store)
    for first in range(0, given["open"], AT_ONCE):
        await worker.write(*(owned_run(worker.id, f"open-{first + n}") for n in range(AT_ONCE)))
    before = SYSTEM.now() + 3_600 * SECOND * 24 * 3_650  # the records' own times are of some years to come
    looked = await _timed(Pruner(store, SYSTEM, before).count())
    for first in range(0, given["ended"], AT_ONCE):
        await worker.write(*(row for n in range(AT_ONCE) for row in _over(worker.id, first + n)))
    done = await _timed(Pruner(store, SYSTEM, before).prune())
    pruned = done.pop("result")
    looked.pop("result")
    await store.close()
    rows = pruned.runs + pruned.facts + pruned.events
    return {"looked": looked, "pruned": done, "rows": rows, "runs": pruned.runs}


def _over(worker: int, number: int) -> list[Mutation]:
    """A run with its history and its event; it has ended."""
    run = owned_run(worker, f"over-{number}", input=PAYLOAD, conversation=f"over-{number}")
    facts = [a_fact(run, position, payload=PAYLOAD) for position in range(1, FACTS + 1)]
    event = an_event(correlationid=run.conversation, data=PAYLOAD)
    return [run, *facts, event, EndRun(run.uid, "completed", PAYLOAD, None, run.created_at)]


async def _timed(work: Any) -> Found:
    began, used = time.perf_counter(), time.process_time()
    result = await work
    return {"result": result, "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used}


def measure(frame: Frame) -> Found:
    size = {"ended": 2_000, "open": 5_000} if frame.quick else {"ended": ENDED, "open": OPEN}
    found: Found = dict(size)
    with frame.fresh() as store:
        found["SQLite"] = frame.probe("pruning:prune", {"store": store, **size})
    with served(frame) as fresh, fresh() as store:
        found["PostgreSQL"] = frame.probe("pruning:prune", {"store": store, **size})
    return found


def show(found: Found) -> list[str]:
    lines = [f"{found['ended']:,} ended runs with {FACTS} facts and an event each, beside {found['open']:,} open ones"]
    for name in ("SQLite", "PostgreSQL"):
        one = found[name]
        pruned, looked = one["pruned"], one["looked"]
        lines.append(
            f"{name:<11} {one['rows']:,} rows removed in {pruned['seconds']:.1f} s "
            f"({pruned['cpu_seconds']:.1f} s on a core here): {one['rows'] / pruned['seconds']:,.0f} rows/s, "
            f"{one['runs'] / pruned['seconds']:,.0f} runs/s; looking over open runs: {looked['seconds']:.2f} s"
        )
    return lines
