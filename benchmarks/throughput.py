"""Purchases per second at 1, 100 and 1,000 in flight, beside the raw limit of the same rows on the same disk.

The machine may have other work: each repeat measures the limit right after the runs that it is compared with, and
what counts is the median of the repeats' ratios.
"""

from benchmarks.frame import Found, Frame, median, span, verdict
from benchmarks.raw_limit import FORMS

TITLE = "Two-step purchase with its event, full fsync"
IN_FLIGHT = (1, 100, 1_000)
RATIO_GOAL = 0.12


def measure(frame: Frame) -> Found:
    samples: dict[str, list[Found]] = {str(count): [] for count in IN_FLIGHT}
    limits: list[Found] = []
    for repeat in range(frame.repeats):
        for count in IN_FLIGHT:
            with frame.fresh() as store:
                samples[str(count)].append(_drive(frame, store, count))
                if count == IN_FLIGHT[-1]:
                    limits.append(frame.probe("raw_limit:raw", {"source": store, "target": store + "-raw"}))
        _tell(frame, repeat, samples, limits)
    rates = [sample["runs_per_second"] for sample in samples[str(IN_FLIGHT[-1])]]
    ratios = {form: [rate / limit[form] for rate, limit in zip(rates, limits, strict=True)] for form in FORMS}
    return {
        "samples": samples,
        "limits": limits,
        "ratios": ratios,
        "ratio": {form: median(values) for form, values in ratios.items()},
    }


def _drive(frame: Frame, store: str, in_flight: int) -> Found:
    given = {"store": store, "in_flight": in_flight, "warm_up": frame.warm_up_seconds, "seconds": frame.seconds}
    return frame.probe("driving:drive", given)


def _tell(frame: Frame, repeat: int, samples: dict[str, list[Found]], limits: list[Found]) -> None:
    rates = ", ".join(f"{found[-1]['runs_per_second']:,.0f}" for found in samples.values())
    raw = ", ".join(f"{form} {limits[-1][form]:,.0f}" for form in FORMS)
    ratio = samples[str(IN_FLIGHT[-1])][-1]["runs_per_second"] / limits[-1]["values"]
    frame.say(f"  repeat {repeat + 1} of {frame.repeats}: {rates} runs/s; raw: {raw}; ratio {ratio:.3f}")


def _stolen(samples: list[Found]) -> float:
    """The share of time in which the loop's thread could have run, but other threads or programs had the cores."""
    return median([sample["used"]["threads"].get("MainThread", {"queued": 0.0})["queued"] for sample in samples])


def show(found: Found) -> list[str]:
    lines = [
        "in flight  runs/s: median (range)       p50 ms   p99 ms commits/s rows/commit ms/commit cores peak MB stolen",
    ]
    for count, samples in found["samples"].items():
        middle = {
            name: median([sample[name] for sample in samples])
            for name in ("p50_ms", "p99_ms", "commits_per_second", "rows_per_commit", "commit_p50_ms")
        }
        cores = median([sample["used"]["cores"] for sample in samples])
        peaks = [sample["peak_mb"] for sample in samples if sample["peak_mb"] is not None]
        lines.append(
            f"{int(count):>9,}  {span([sample['runs_per_second'] for sample in samples]):<26} "
            f"{middle['p50_ms']:>8.2f} {middle['p99_ms']:>8.2f} {middle['commits_per_second']:>9,.0f} "
            f"{middle['rows_per_commit']:>11,.1f} {middle['commit_p50_ms']:>9.2f} {cores:>5.2f} "
            f"{(f'{max(peaks):.0f}' if peaks else '?'):>7} {_stolen(samples):>6.0%}"
        )
    limits = found["limits"]
    lines += ["", f"raw limit: the same rows ({limits[0]['rows_per_run']:.1f} per run), 500 runs per transaction"]
    for form in FORMS:
        ratios = found["ratios"][form]
        each = " ".join(f"{ratio:.3f}" for ratio in ratios)
        lines.append(
            f"{form:>12}  {span([limit[form] for limit in limits]):<26} runs/s; 1,000 in flight is "
            f"{median(ratios):.3f} of it ({each})"
        )
    for form in ("values", "json_each"):
        lines.append(
            f"ratio to {form}: {found['ratio'][form]:.3f}; {verdict(found['ratio'][form], RATIO_GOAL, at_least=True)}"
        )
    return lines
