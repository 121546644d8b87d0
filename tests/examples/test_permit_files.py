"""What the permits' example reads and refuses, before anything is published."""

import contextlib
import gzip
import json
import os
import pty
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from examples.permit_receipt import records as files
from examples.permit_receipt.__main__ import main
from examples.permit_receipt.pairs import BadPair, read_within
from examples.permit_receipt.records import BadFile, read
from examples.permit_receipt.screen import length

SAMPLE = Path(files.__file__).with_name("sample.csv")
HEAD = "case,activity,time"


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "events.csv"
    path.write_text("".join(line + "\n" for line in lines))
    return path


def test_the_sample_is_read_plain_and_packed(tmp_path: Path) -> None:
    packed = tmp_path / "packed"  # known by what is in it, not by its name
    packed.write_bytes(gzip.compress(SAMPLE.read_bytes()))
    assert read(packed) == read(SAMPLE)
    assert len(read(SAMPLE)) == 152
    first = read(SAMPLE)[0]
    assert first.case == "permit-001" and first.details["channel"] == "Post" and "case" not in first.details


def test_rows_in_any_order_happen_in_order_of_time(tmp_path: Path) -> None:
    path = written(
        tmp_path, "time,case,activity,note", "2020-01-02T00:00:00Z,1,b,", "2020-01-02T00:30:00+01:00,1,a,x",
        "2020-01-02T00:00:00+00:00,1,c,",
    )  # fmt: skip
    assert [record.activity for record in read(path)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "events.csv has no column case and no column activity and no column time; its first line must name at"),
        (["case,time", "1,2"], "no column activity; its first line must name at least the columns case, activity, "),
        (["case,time", "1,2"], "activity, time, and names case, time"),
        ([HEAD + ",time"], "has the column 'time' twice"),
        ([HEAD], "holds no events"),
        ([HEAD, "1,a,2020-01-01 00:00:00Z", "1,a,yesterday"], "line 3: 'yesterday' is no time; write it as"),
        ([HEAD, "1,a,2020-01-01 00:00:00"], "line 2: '2020-01-01 00:00:00' has no time zone, so it names no moment"),
        ([HEAD, "1,a,1960-01-01 00:00:00Z"], "is not in the years from 1970 to 8999"),
        ([HEAD, "1,a"], "line 2: it has fewer fields than the first line has columns"),
        ([HEAD, "1,a,2020-01-01 00:00:00Z,more"], "line 2: it has more fields than the first line has columns"),
        ([HEAD, ",a,2020-01-01 00:00:00Z"], "line 2: column 'case' must hold 1 to 512 characters, not 0"),
        ([HEAD, f"1,{'a' * 513},2020-01-01 00:00:00Z"], "column 'activity' must hold 1 to 512 characters, not 513"),
        ([HEAD, '1,"a,2020-01-01 00:00:00Z'], "after line 1: not CSV: "),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_by_line(tmp_path: Path, lines: list[str], complaint: str) -> None:
    with pytest.raises(BadFile) as refused:
        read(written(tmp_path, *lines))
    assert complaint in str(refused.value)
    assert "events.csv" in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="there is no file .*none.csv"):
        read(tmp_path / "none.csv")
    with pytest.raises(BadFile, match="cannot read .*: Is a directory"):
        read(tmp_path)
    (tmp_path / "latin").write_bytes(b"case,activity,time\n\xff")
    with pytest.raises(BadFile, match="latin is not UTF-8 text"):
        read(tmp_path / "latin")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(SAMPLE.read_bytes())[:2000])
    with pytest.raises(BadFile, match="cannot read .*cut.gz: Compressed file ended"):
        read(tmp_path / "cut.gz")


def test_without_the_log_the_way_to_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "permit-receipt.csv.gz"
    monkeypatch.setattr(files, "DEFAULT_FILE", nowhere)
    assert main(["--file", str(nowhere)]) == 2
    told = capsys.readouterr().err
    assert "10.4121/uuid:a07386a5-7be3-4367-9535-70bc9e77dbe6" in told and "--file" in told


@pytest.mark.parametrize(
    ("text", "within"),
    [
        ("7d", timedelta(days=7)), ("36h", timedelta(hours=36)), ("1d12h", timedelta(hours=36)),
        ("2w", timedelta(days=14)), ("0.5h", timedelta(minutes=30)), ("90m", timedelta(minutes=90)),
        ("1s", timedelta(seconds=1)),
    ],
)  # fmt: skip
def test_lengths_of_time(text: str, within: timedelta) -> None:
    assert read_within(text) == within


@pytest.mark.parametrize("text", ["", "7", "d", "7 days", "-1d", "0d", "7d!", "999999999999d", "1e9d", "400000d"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(BadPair, match=r"is no length of time; write 7d|is out of range; take more than 0"):
        read_within(text)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--after", "T05"], "belong together"),
        (["--within", "7d"], "belong together"),
        (["--after", "a", "--expect", "b", "--within", "soon"], "'soon' is no length of time"),
    ],
)
def test_half_a_pair_is_refused(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--file", str(SAMPLE), *arguments])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("t05", "did you mean 'T05 Print and send confirmation of receipt'?"),
        ("Confirmation of reciept", "did you mean 'Confirmation of receipt'"),
        ("xyz", "it has: 'Confirmation of receipt', 'T02 Check confirmation of receipt', 'T03 "),
    ],
)
def test_an_unknown_activity_is_told_with_close_ones(
    name: str, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ["--after", "Confirmation of receipt", "--expect", name, "--within", "7d"]
    assert main(["--file", str(SAMPLE), *pair]) == 2
    told = capsys.readouterr().err
    assert f"the file has no activity '{name}'" in told and advice in told


def test_another_file_needs_a_pair_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--file", str(written(tmp_path, HEAD, "1,a,2020-01-01 00:00:00Z"))]) == 2
    told = capsys.readouterr().err
    assert "choose a pair of this file's with --after, --expect and --within" in told


def test_a_store_that_exists_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, HEAD, "1,a,2020-01-01 00:00:00Z")
    store = tmp_path / "kept.db"
    asked = ["--file", str(path), "--after", "a", "--expect", "a", "--within", "1d", "--store", f"sqlite:///{store}"]
    assert main([*asked, "--json"]) == 0
    before = store.read_bytes()
    assert main(asked) == 2
    assert "there is a store at sqlite:///" in capsys.readouterr().err
    assert store.read_bytes() == before
    store.write_text("a letter to my aunt")
    assert main(asked) == 2
    assert "is no new store" in capsys.readouterr().err
    assert store.read_text() == "a letter to my aunt"


def test_what_motet_refuses_is_told_in_its_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, HEAD, "1,a*,2020-01-01 00:00:00Z")
    assert main(["--file", str(path), "--after", "a*", "--expect", "a*", "--within", "1d"]) == 1
    assert "'a*' is a pattern; name one event" in capsys.readouterr().err


def test_what_a_person_sees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--file", str(SAMPLE)]) == 0
    told, progress = capsys.readouterr()
    assert progress == ""  # no terminal, no bar
    assert told.startswith("152 events of 31 cases, 2021-09-03 to 2021-10-20\n")
    assert (
        "T05 Print and send confirmation of receipt: within 7d after Confirmation of receipt\n  met 19   late 4" in told
    )
    assert "    permit-001   since 2021-09-03 13:06 UTC   took 13d 16h\n" in told
    assert "    permit-004   since 2021-09-07 13:52 UTC   waiting for 42d 16h\n" in told
    assert "  Confirmation of receipt\n        22  T02 Check confirmation of receipt\n" in told


def test_on_a_terminal_a_bar_shows_how_far_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD, *(f"{case},a,2020-01-01 00:00:00Z" for case in range(600)))
    pair = ["--after", "a", "--expect", "a", "--within", "1d"]
    ours, theirs = pty.openpty()
    with (
        os.fdopen(ours, "rb", buffering=0) as terminal,
        subprocess.Popen(
            [sys.executable, "-m", "examples.permit_receipt", "--file", str(path), *pair, "--json"],
            stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"},
        ) as running,
    ):  # fmt: skip
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends whose other side is gone
            while piece := terminal.read(65536):
                shown += piece
        assert running.stdout is not None
        assert json.loads(running.stdout.read()) == {"met": 0, "late": 0, "missed": 0, "open": 600}
    assert b"600/600" in shown


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(days=3, hours=2, minutes=50), "3d 2h"), (timedelta(days=3, seconds=5), "3d"),
        (timedelta(minutes=2, seconds=5), "2m 5s"), (timedelta(milliseconds=1), "less than 1s"),
    ],
)  # fmt: skip
def test_how_long_things_take(span: timedelta, text: str) -> None:
    assert length(span) == text
