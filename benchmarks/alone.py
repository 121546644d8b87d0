"""A run alone: how long it takes, how many commits and how many syncs."""

import time
from pathlib import Path

from benchmarks import fsyncs
from benchmarks.frame import Found, Frame, median, percentile, span, verdict
from benchmarks.purchase import a_purchase, shop

TITLE = "A run alone"
SYNC_GOAL = 6
COUNTED_RUNS = 200


async def one_by_one(given: Found) -> Found:
    """The probe: `store`, `runs`: that many purchases, each after the other; the first tenth is warm-up."""
    app, workflow = shop(given["store"])
    folder = Path(given["store"]).parent
    runs, warm_up = given["runs"], given["runs"] // 10
    started: list[float] = []
    took: list[float] = []
    commits: list[int] = []
    app.hooks.batch_committed(lambda _units, rows, _seconds: commits.append(rows))
    async with app.worker():
        for number in range(warm_up + runs):
            if number == warm_up:
                fsyncs.mark(folder, fsyncs.BEGIN)
                commits.clear()
            began = time.perf_counter()
            run = await app.start(workflow, a_purchase(str(number)), id=f"purchase-{number}")
            durable = time.perf_counter()
            await run.result()
            if number >= warm_up:
                started.append(durable - began)
                took.append(time.perf_counter() - began)
        fsyncs.mark(folder, fsyncs.END)
        counted = len(commits)
    return {
        "runs": runs,
        "started_p50_ms": percentile(started, 50) * 1000,
        "started_p99_ms": percentile(started, 99) * 1000,
        "p50_ms": percentile(took, 50) * 1000,
        "p99_ms": percentile(took, 99) * 1000,
        "commits_per_run": counted / runs,
        "rows_per_commit": sum(commits[:counted]) / max(1, counted),
    }


def measure(frame: Frame) -> Found:
    repeats: list[Found] = []
    for _ in range(frame.repeats):
        with frame.fresh() as store:
            repeats.append(frame.probe("alone:one_by_one", {"store": store, "runs": 200 if frame.quick else 1_500}))
    with frame.fresh() as store:
        counted = fsyncs.count(frame, "alone:one_by_one", {"store": store, "runs": COUNTED_RUNS}, Path(store).parent)
    return {"repeats": repeats, "syncs": counted}


def show(found: Found) -> list[str]:
    repeats, syncs = found["repeats"], found["syncs"]
    each = {name: [repeat[name] for repeat in repeats] for name in repeats[0]}
    lines = [
        f"start to result:            p50 {span(each['p50_ms'], '.2f')} ms, p99 {span(each['p99_ms'], '.2f')} ms",
        f"until the start is durable: p50 {span(each['started_p50_ms'], '.2f')} ms",
        f"{median(each['commits_per_run']):.2f} commits per run, {median(each['rows_per_commit']):.2f} rows per commit",
    ]
    if syncs["how"] == "none":
        return [*lines, "fsyncs: not measured (neither strace nor a C compiler works here)"]
    per_run = syncs["log_syncs"] / syncs["runs"]
    return [
        *lines,
        f"{per_run:.2f} fsyncs per run for its commits; {verdict(per_run, SYNC_GOAL, at_least=False)}",
        f"({syncs['how']}: in {syncs['runs']} runs {syncs['log_syncs']} of the log, {syncs['other_syncs']} of others;",
        "a checkpoint comes with every 16 MiB of log, not with a run, and syncs both the log and the database)",
    ]
