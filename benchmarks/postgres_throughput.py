"""Purchases per second on PostgreSQL, beside the raw limit of the same rows on the same server.

Each repeat measures the limit right after the runs that it is compared with; the median of the repeats' ratios counts.
Statements and round trips are counted by a proxy, in a run of its own that is not timed.
"""

from benchmarks.frame import Found, Frame, median, span, verdict
from benchmarks.postgres import Fresh, served, version

TITLE = "PostgreSQL: two-step purchase with its event, synchronous_commit = on"
IN_FLIGHT = (1, 100, 1_000)
RATIO_GOAL = 0.12


def measure(frame: Frame) -> Found:
    samples: dict[str, list[Found]] = {str(count): [] for count in IN_FLIGHT}
    limits: list[Found] = []
    with served(frame) as fresh:
        with fresh() as store:
            server = version(store)
        for repeat in range(frame.repeats):
            for count in IN_FLIGHT:
                with fresh() as store:
                    samples[str(count)].append(_drive(frame, store, count))
                    if count == IN_FLIGHT[-1]:
                        limits.append(_limit(frame, fresh, store))
            rates = ", ".join(f"{found[-1]['runs_per_second']:,.0f}" for found in samples.values())
            ratio = samples[str(IN_FLIGHT[-1])][-1]["runs_per_second"] / limits[-1]["unnest"]
            frame.say(
                f"  repeat {repeat + 1} of {frame.repeats}: {rates} runs/s; raw: {limits[-1]['unnest']:,.0f}; "
                f"ratio {ratio:.3f}"
            )
        talk = {str(count): _talk(frame, fresh, count) for count in IN_FLIGHT}
    rates_of = [sample["runs_per_second"] for sample in samples[str(IN_FLIGHT[-1])]]
    ratios = [rate / limit["unnest"] for rate, limit in zip(rates_of, limits, strict=True)]
    return {
        "server": server,
        "samples": samples,
        "limits": limits,
        "ratios": ratios,
        "ratio": median(ratios),
        "talk": talk,
    }


def _drive(frame: Frame, store: str, in_flight: int) -> Found:
    given = {"store": store, "in_flight": in_flight, "warm_up": frame.warm_up_seconds, "seconds": frame.seconds}
    return frame.probe("driving:drive", given)


def _limit(frame: Frame, fresh: Fresh, source: str) -> Found:
    """In a database beside the one that runs left, which is there as long as this one."""
    target = fresh.beside()
    return frame.probe("postgres_limit:raw", {"source": source, "target": target})


def _talk(frame: Frame, fresh: Fresh, in_flight: int) -> Found:
    with fresh() as store:
        return frame.probe("postgres_talk:drive", {"store": store, "in_flight": in_flight, "seconds": 2.0})


def show(found: Found) -> list[str]:
    head = "in flight  runs/s: median (range)       p50 ms   p99 ms commits/s rows/commit ms/commit cores "
    lines = [f"PostgreSQL {found['server']}; one process is client and worker", head + "statements/run round trips/run"]
    for count, samples in found["samples"].items():
        middle = {
            name: median([sample[name] for sample in samples])
            for name in ("p50_ms", "p99_ms", "commits_per_second", "rows_per_commit", "commit_p50_ms")
        }
        cores = median([sample["used"]["cores"] for sample in samples])
        talk = found["talk"][count]
        lines.append(
            f"{int(count):>9,}  {span([sample['runs_per_second'] for sample in samples]):<26} "
            f"{middle['p50_ms']:>8.2f} {middle['p99_ms']:>8.2f} {middle['commits_per_second']:>9,.0f} "
            f"{middle['rows_per_commit']:>11,.1f} {middle['commit_p50_ms']:>9.2f} {cores:>5.2f} "
            f"{talk['statements_per_run']:>14.2f} {talk['round_trips_per_run']:>15.2f}"
        )
    limits = found["limits"]
    each = " ".join(f"{ratio:.3f}" for ratio in found["ratios"])
    raw = f"by unnest, 500 runs per transaction: {span([limit['unnest'] for limit in limits])} runs/s"
    goal = verdict(found["ratio"], RATIO_GOAL, at_least=True)
    return [
        *lines,
        f"raw limit: the same rows ({limits[0]['rows_per_run']:.1f} per run) {raw}",
        f"1,000 in flight is {found['ratio']:.3f} of it ({each}); {goal}",
    ]
