"""A run's plan, lit: what it has done of what its workflow can do, from records alone."""

from __future__ import annotations

from collections.abc import Sequence

from motet.catalog import read_entry
from motet.coming import Lit, LitPlan, known_plan, light_up, states_of
from motet.model.history import Recorded
from motet.model.run import ENDED, Run
from motet.status import current_of, dids_of, in_flight


def lit_plan(run: Run, history: Sequence[Recorded], catalog: str | None) -> LitPlan:
    """The plan of a run's workflow, lit with what the run has done."""
    entry, known = read_entry(catalog), known_plan(catalog)
    current = current_of(run, history, entry)
    lit: tuple[dict[int, Lit], list[str]] = {}, []
    if known is not None:
        stopped = any(row.kind in ("cancel", "deadline") for row in history)
        over = run.state in ENDED or run.state == "compensating" or stopped
        flying = [in_flight(item) for item in current]
        lit = light_up(known, dids_of(history, current), states_of(history, flying), over=over)
    return LitPlan(run.workflow, run.version, run.id, entry.place, entry.plan, *lit)
