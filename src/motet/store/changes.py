"""What changes of a run's row are, as SQL that all our databases understand alike: what is set, and where.

`run` is the table, `v` what the mutations say, by their own names. Made from the transition table, so that what it
forbids no statement does.
"""

from __future__ import annotations

from motet.model.run import ENDED, TRANSITIONS
from motet.store import mutations as m

_ALLOWED = ", ".join(f"'{before}>{after}'" for before, afters in TRANSITIONS.items() for after in sorted(afters))
_MAY = f"run.state || '>' || v.state IN ({_ALLOWED})"
_ENDED = ", ".join(f"'{state}'" for state in sorted(ENDED))

RUN_CHANGES: dict[type, tuple[str, str]] = {
    m.RetireId: ("id = v.id || '~' || v.uid", "run.id = v.id AND run.state IN ('failed', 'cancelled')"),
    m.ShowProgress: (
        """note = coalesce(v.note, run.note),
        current = CASE WHEN v.note IS NULL THEN v.current ELSE coalesce(v.current, run.current) END,
        crashes = CASE WHEN v.acquitted THEN 0 ELSE run.crashes END""",
        f"run.state NOT IN ({_ENDED})",
    ),
    m.EnterState: ("state = v.state, error = v.error, parked = v.parked, fingerprint = v.fingerprint", _MAY),
    m.BeginGeneration: (
        """generation = v.generation, input = v.input, started_at = v.started_at, state = 'running',
        error = NULL, parked = NULL, current = NULL, consumed = v.consumed,
        version = coalesce(v.version, run.version),
        first_input = CASE WHEN run.generation = 1 THEN run.input ELSE run.first_input END""",
        f"run.generation < v.generation AND run.state NOT IN ({_ENDED})",
    ),
    m.EndRun: (
        """state = v.state, result = v.result, error = v.error, ended_at = v.ended_at,
        owner = NULL, wake_at = NULL, current = NULL, parked = NULL""",
        _MAY,
    ),
    m.ReleaseRun: ("state = v.state, wake_at = v.wake_at, owner = NULL, current = v.current", _MAY),
}

REFUSED: dict[type, str] = {
    m.EnterState: f"run.state NOT IN (v.state, {_ENDED})",
    m.ReleaseRun: f"run.state NOT IN (v.state, {_ENDED})",
    m.EndRun: "run.state <> v.state",
}
"""What a change of state that was not made tells: it had been made before, or the run has ended; else it is refused."""

CHANGES = frozenset({*RUN_CHANGES, m.MoveCursor})
"""The kinds of which a statement may name each run, or cursor, once only."""
