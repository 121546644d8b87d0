"""The permits' choreography comes to what plain Python reckons from the same rows."""

import asyncio
import json
import random
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from examples.permit_receipt import records as files
from examples.permit_receipt.__main__ import main
from examples.permit_receipt.findings import findings
from examples.permit_receipt.pairs import DEFAULT_PAIRS, Pair
from examples.permit_receipt.records import DEFAULT_FILE, Record
from examples.permit_receipt.replay import MOST_AT_ONCE, replay, stretches
from examples.permit_receipt.succession import succession
from tests.examples.permit_reckoning import happened, neighbours, random_pair, reckon

SAMPLE = Path(files.__file__).with_name("sample.csv")
MISSED = "motet.expectation.missed"

needs_the_log = pytest.mark.skipif(
    not DEFAULT_FILE.exists(), reason=f"the log of the permits, which is not ours to publish, is not at {DEFAULT_FILE}"
)


def replayed(file: Path, pairs: list[Pair], store: Path) -> list[dict[str, int]]:
    """The counts of each pair, after a replay into a new store."""
    happening = files.read(file)
    published: list[int] = []
    asyncio.run(replay(happening, pairs, f"sqlite:///{store}", published.append))
    assert sum(published) == len(happening)
    return [found.counts for found in findings(f"sqlite:///{store}", pairs, happening[-1].time)]


def example(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """What it prints with --json."""
    code = main([*map(str, arguments), "--json"])
    told = capsys.readouterr()
    assert (code, told.err) == (0, "")
    assert told.out.count("\n") == 1
    return json.loads(told.out)


BY_HAND = """\
case,activity,time
in-time,asked,2020-03-01 12:00:00+00:00
at-the-last-moment,asked,2020-03-01 12:00:01+00:00
a-moment-too-late,asked,2020-03-01 12:00:02+00:00
never,asked,2020-03-01 12:00:03+00:00
before,answered,2020-03-01 12:00:04+00:00
before,asked,2020-03-01 12:00:05+00:00
in-time,answered,2020-03-01 22:00:00+09:00
twice,asked,2020-03-01 12:00:06+00:00
twice,asked,2020-03-01 20:00:00+00:00
at-the-last-moment,answered,2020-03-02 12:00:01+00:00
a-moment-too-late,answered,2020-03-02 12:00:02.000001+00:00
twice,answered,2020-03-02 13:00:00+00:00
nobody-asked,answered,2020-03-02 13:00:00+00:00
still-open,asked,2020-03-03 12:00:00+00:00
last-of-all,something else,2020-03-04 12:00:00+00:00
"""


def test_every_fate_of_a_case_as_counted_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "asked.csv"
    file.write_text(BY_HAND)
    told = example(capsys, "--file", file, "--after", "asked", "--expect", "answered", "--within", "1d")
    assert told == {"met": 2, "late": 2, "missed": 2, "open": 1}


def test_random_pairs_and_times_are_as_reckoned(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    rows = happened(SAMPLE)
    pairs = [Pair(*random_pair(rows, chance)) for _ in range(20)]
    assert replayed(SAMPLE, pairs, tmp_path / "permits.db") == [reckon(rows, *pair).counts for pair in pairs]


def test_without_a_pair_the_two_of_the_municipalities(capsys: pytest.CaptureFixture[str]) -> None:
    told = example(capsys, "--file", SAMPLE)
    assert told == {
        "pairs": [
            {
                "after": pair.after, "expect": pair.expect, "within_seconds": pair.within.total_seconds(),
                **reckon(happened(SAMPLE), *pair).counts,
            }
            for pair in DEFAULT_PAIRS
        ]
    }  # fmt: skip
    assert all(pair[state] > 0 for pair in told["pairs"] for state in ("met", "late", "missed", "open"))


@needs_the_log
@pytest.mark.timeout(400)
def test_the_real_log(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    rows = happened(DEFAULT_FILE)
    # Each miss is a move of the clock: with thousands of them this would take minutes.
    pairs = [*DEFAULT_PAIRS, *(Pair(*random_pair(rows, chance, most=100)) for _ in range(3))]
    counts = replayed(DEFAULT_FILE, pairs, tmp_path / "permits.db")
    assert counts[:2] == [  # as the log's own README says
        {"met": 1141, "late": 159, "missed": 131, "open": 3},
        {"met": 1190, "late": 93, "missed": 144, "open": 7},
    ]
    assert counts == [reckon(rows, *pair).counts for pair in pairs]
    assert followed(tmp_path / "permits.db", DEFAULT_FILE) == neighbours(rows)


def followed(store: Path, file: Path) -> dict[tuple[str | None, str | None], int]:
    found = asyncio.run(succession(f"sqlite:///{store}", files.read(file)[-1].time))
    assert [one.times for one in found] == sorted((one.times for one in found), reverse=True)
    return {(one.after, one.then): one.times for one in found}


def test_an_observer_who_comes_later_sees_what_followed_what(tmp_path: Path) -> None:
    replayed(SAMPLE, [DEFAULT_PAIRS[0]], tmp_path / "permits.db")
    assert followed(tmp_path / "permits.db", SAMPLE) == neighbours(happened(SAMPLE))


def test_the_command_line_says_the_same_of_the_store(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'kept.db'}"
    pair = DEFAULT_PAIRS[1]
    asked = ["--after", pair.after, "--expect", pair.expect, "--within", "14d", "--store", store, "--json"]
    told = _run("examples.permit_receipt", "--file", str(SAMPLE), *asked)
    (kept,) = _run("motet", "expectations", "--store", store, "--json")["expectations"]
    assert told == {state: kept[state] for state in ("met", "late", "missed", "open")}
    assert told == reckon(happened(SAMPLE), *pair).counts
    assert (kept["after"], kept["expected"], kept["within_seconds"]) == (pair.after, pair.expect, 14 * 86_400)
    assert kept["behind"] == 0


def _run(module: str, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_everything_happens_at_its_own_time(tmp_path: Path) -> None:
    """Read from the file of the store: events stand in the order in which they happened, none recorded after it was
    known to be missed; and a miss is announced the moment its time is over, also of what comes later after all."""
    store = tmp_path / "permits.db"
    replayed(SAMPLE, [*DEFAULT_PAIRS], store)
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
        log = connection.execute("SELECT type, subject, time, recorded_at FROM event ORDER BY position").fetchall()
    connection.close()
    rows = happened(SAMPLE)
    published = [(name, key, _moment(time)) for name, key, time, _ in log if name != MISSED]
    assert published == [(row.activity, row.case, row.time) for row in rows]
    announced = sorted(_moment(time) for name, _, time, _ in log if name == MISSED)
    dues = sorted(due for pair in DEFAULT_PAIRS for due in reckon(rows, *pair).missed_at_first)
    assert announced == [due + timedelta(microseconds=1) for due in dues]
    times = [time for _, _, time, _ in log]
    assert times == sorted(times)
    assert all(recorded_at <= time for _, _, time, recorded_at in log)


def _moment(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def test_nothing_falls_due_inside_a_stretch() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(200):
        records = _random_records(chance)
        pairs = [Pair("a", "b", timedelta(seconds=chance.randint(1, 30))), Pair("b", "b", timedelta(seconds=7))]
        found = list(stretches(records, pairs))
        assert [record for stretch in found for record in stretch] == records
        assert all(0 < len(stretch) <= MOST_AT_ONCE for stretch in found)
        for stretch in found:
            assert not [due for due in _missed(records, pairs) if stretch[0].time <= due < stretch[-1].time]


def _missed(records: list[Record], pairs: list[Pair]) -> list[datetime]:
    """When what has not come by then falls due, whether or not it comes later."""
    return [
        record.time + pair.within
        for number, record in enumerate(records)
        for pair in pairs
        if record.activity == pair.after
        and not [
            later
            for later in records[number + 1 :]
            if (later.case, later.activity) == (record.case, pair.expect) and later.time <= record.time + pair.within
        ]
    ]


def test_a_long_time_without_anything_due_is_published_in_portions() -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    records = [Record("case", "a", start, {})] * (MOST_AT_ONCE * 2 + 1)
    assert [len(stretch) for stretch in stretches(records, [])] == [MOST_AT_ONCE, MOST_AT_ONCE, 1]


def _random_records(chance: random.Random) -> list[Record]:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    seconds = sorted(chance.randint(0, 100) for _ in range(chance.randint(1, 40)))
    return [
        Record(chance.choice("12"), chance.choice("abc"), start + timedelta(seconds=second), {}) for second in seconds
    ]
