"""What `motet doctor` looks at. Reads only; every finding says what to do about it."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
from importlib import metadata
from pathlib import Path
from typing import Literal

import msgspec

from motet.app import App
from motet.cli.spans import whole
from motet.model.clock import SECOND, Micros
from motet.model.run import Run
from motet.runtime.liveness import is_dead
from motet.status import incidents_of, iso
from motet.store.open import engines
from motet.store.protocol import RunFilter

PAGE = 500
MOST_READ = 10_000
LATE_SECONDS = 10.0
SHOWN = 5
LITTLE_SPACE = 1_000_000_000
NO_SPACE = 50_000_000

Level = Literal["error", "warning"]


class Finding(msgspec.Struct, frozen=True):
    """Something wrong (error) or risky (warning)."""

    level: Level
    about: str
    text: str


class WorkerFact(msgspec.Struct, frozen=True):
    """A registered worker; `alive` is false if its process is known to be gone."""

    id: int
    name: str
    program: str
    alive: bool
    started_at: str
    seen_at: str


class Examination(msgspec.Struct, frozen=True):
    """All that doctor has seen. `ok`: no error among the findings."""

    ok: bool
    store: str
    bytes: int | None
    free_bytes: int | None
    versions: dict[str, str]
    counts: dict[str, int]
    workers: list[WorkerFact]
    blocked: int
    overdue: int
    findings: list[Finding]


async def examine(app: App, now: Micros) -> Examination:
    """Look at the store that the app is connected to, and at everything around it."""
    store = app.client.store
    findings = [_store_finding(text) for text in await store.findings()]
    counts = await store.counts()
    workers = [
        WorkerFact(
            row.id,
            row.name,
            row.program,
            not is_dead(row, shared=store.shared),
            iso(row.started_at) or "",
            iso(row.seen_at) or "",
        )
        for row in await store.workers()
    ]
    findings += _worker_findings(workers)
    blocked = await store.runs(RunFilter(states=("blocked",), limit=SHOWN))
    findings += _blocked_findings(blocked, counts.get("blocked", 0))
    late = await _overdue(app, now)
    findings += _late_findings(late, any(worker.alive for worker in workers), now)
    size, free = _space(store.address)
    findings += _space_findings(free)
    return Examination(
        ok=not any(finding.level == "error" for finding in findings), store=store.address, bytes=size, free_bytes=free,
        versions=_versions(), counts=counts, workers=workers, blocked=counts.get("blocked", 0), overdue=len(late),
        findings=findings,
    )  # fmt: skip


def _store_finding(text: str) -> Finding:
    return Finding("error" if text.startswith("integrity") else "warning", "store", text)


def _worker_findings(workers: list[WorkerFact]) -> list[Finding]:
    return [
        Finding(
            "warning", "worker", f"worker {worker.name} is gone without a word; the next worker takes over its runs"
        )
        for worker in workers
        if not worker.alive
    ]


def _blocked_findings(blocked: list[Run], count: int) -> list[Finding]:
    findings: list[Finding] = []
    for run in blocked:
        reasons = "; ".join(
            f"{incident.operation or incident.kind}: {incident.reason}" for incident in incidents_of(run)
        )
        advice = f"see motet status {shlex.quote(run.id)}"
        findings.append(Finding("error", "run", f"run '{run.id}' is blocked ({reasons[:200]}); {advice}"))
    if count > len(blocked):
        more = f"{count - len(blocked):,} more runs are blocked; see motet runs --state blocked"
        findings.append(Finding("error", "run", more))
    return findings


async def _overdue(app: App, now: Micros) -> list[Run]:
    """Runs that are due, that nobody drives though they have not to wait for a place in their queue, and that are late
    for it; of the latest ten thousand open runs."""
    queues = await app.client.store.queues(now)
    full = {queue.name for queue in queues if queue.concurrency is not None and queue.running >= queue.concurrency}
    late: list[Run] = []
    before: str | None = None
    for _ in range(MOST_READ // PAGE):
        page = await app.client.store.runs(
            RunFilter(states=("pending", "running", "waiting", "compensating"), limit=PAGE, before=before)
        )
        late += [
            run
            for run in page
            if run.owner is None
            and run.wake_at is not None
            and run.queue not in full
            and now - _due(run) >= LATE_SECONDS * SECOND
        ]
        if len(page) < PAGE:
            break
        before = page[-1].uid
    return late


def _due(run: Run) -> Micros:
    """When somebody should have taken it: a run whose worker is gone is due at once, which is written as 0."""
    return max(run.wake_at or 0, run.created_at)


def _late_findings(late: list[Run], driven: bool, now: Micros) -> list[Finding]:
    if not late:
        return []
    longest = whole((now - min(_due(run) for run in late)) / SECOND)
    count = f"{len(late):,} run{' is' if len(late) == 1 else 's are'} due"
    names = ", ".join(sorted({run.workflow for run in late})[:SHOWN])
    if not driven:
        text = f"{count} and no worker is running, for up to {longest} ({names}); start one with motet worker MODULE"
        return [Finding("error", "run", text)]
    text = f"{count} and no worker takes them, for up to {longest}; does any worker know {names}?"
    return [Finding("warning", "run", text)]


def _space(address: str) -> tuple[int | None, int | None]:
    """The size of the store's files and what is free on their disk; unknown for a store on a server."""
    scheme, _, path = address.partition(":///")
    if scheme != "sqlite":
        return None, None
    files = [Path(path + ending) for ending in ("", "-wal")]
    size = sum(file.stat().st_size for file in files if file.exists())
    return size, shutil.disk_usage(os.path.dirname(os.path.abspath(path))).free


def _space_findings(free: int | None) -> list[Finding]:
    if free is None or free >= LITTLE_SPACE:
        return []
    level: Level = "error" if free < NO_SPACE else "warning"
    text = f"only {free / 1e6:,.0f} MB are free on the store's disk; when it is full, everything waits"
    return [Finding(level, "disk", text)]


def _versions() -> dict[str, str]:
    return {"Motet": metadata.version("motet"), "Python": platform.python_version(), **engines()}
