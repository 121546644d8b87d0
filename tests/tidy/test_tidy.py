"""Each rule of tools/tidy.py is made to fail once, and to hold its peace where it should."""

from pathlib import Path, PurePosixPath

import pytest

from tools import tidy

SRC = "src/motet/runtime/worker.py"
TEST = "tests/runtime/test_worker.py"
DOC = '"""Why."""\n'
TO_DO, FIX_ME = "TO" + "DO", "FIX" + "ME"


def rules(path: str, text: str) -> list[str]:
    return [finding.rule for finding in tidy.check(PurePosixPath(path), text)]


def source(body: str) -> str:
    return DOC + body


BAD = {
    "file of 401 lines": (SRC, source("x = 1\n" * 400), "file-length"),
    "SQL file of 401 lines": ("src/motet/store/sqlite/schema.sql", "SELECT 1;\n" * 401, "file-length"),
    "function of 71 lines": (SRC, source("def f():\n" + "    x = 1\n" * 70), "function-length"),
    "async method of 71 lines": (
        "examples/shop.py",
        "class A:\n    async def f(self):\n" + "        x = 1\n" * 70,
        "function-length",
    ),
    "no docstring": (SRC, "x = 1\n", "module-docstring"),
    "empty __init__": ("src/motet/web/__init__.py", "", "module-docstring"),
    "time.time": (SRC, source("import time\nnow = time.time()\n"), "one-clock"),
    "time.monotonic, imported by name": (
        SRC,
        source("from time import monotonic as m\nnow = m()\n"),
        "one-clock",
    ),
    "a clock handed on": (SRC, source("import time\ndef f(clock=time.time): ...\n"), "one-clock"),
    "datetime.now": (
        SRC,
        source("from datetime import UTC, datetime\nnow = datetime.now(UTC)\n"),
        "one-clock",
    ),
    "datetime.utcnow": (SRC, source("import datetime as d\nnow = d.datetime.utcnow()\n"), "one-clock"),
    "time.sleep": (SRC, source("import time\ntime.sleep(1)\n"), "one-clock"),
    "time.sleep(0) blocks too": (SRC, source("import time\ntime.sleep(0)\n"), "one-clock"),
    "asyncio.sleep": (
        SRC,
        source("import asyncio\nasync def f():\n    await asyncio.sleep(1)\n"),
        "one-clock",
    ),
    "an excuse without a reason": (SRC, source("import time\ntime.sleep(1)  # tidy:\n"), "one-clock"),
    "a test that sleeps": (TEST, "import time\ntime.sleep(0.1)\n", "no-sleep-in-tests"),
    "an async test that sleeps": (
        TEST,
        "from asyncio import sleep\nasync def test_it():\n    await sleep(0.1)\n",
        "no-sleep-in-tests",
    ),
    "a workflow body that blocks": (
        TEST,
        "import time\nasync def body(flow):\n    time.sleep(1)\n",
        "no-sleep-in-tests",
    ),
    "except Exception: pass": (SRC, source("try:\n    f()\nexcept Exception:\n    pass\n"), "swallowed"),
    "bare except": (SRC, source("try:\n    f()\nexcept:\n    ...\n"), "swallowed"),
    "Exception among others": (
        SRC,
        source("try:\n    f()\nexcept (ValueError, BaseException):\n    pass\n"),
        "swallowed",
    ),
    "except Exception: return": (
        SRC,
        source("def g():\n    try:\n        f()\n    except Exception:\n        return None\n"),
        "swallowed",
    ),
    "except Exception: continue": (
        SRC,
        source("while True:\n    try:\n        f()\n    except Exception:\n        continue\n"),
        "swallowed",
    ),
    "suppress(Exception)": (
        SRC,
        source("from contextlib import suppress\nwith suppress(OSError, Exception):\n    f()\n"),
        "swallowed",
    ),
    "import pickle": (SRC, source("import pickle\n"), "no-pickle"),
    "from pickle import": ("benchmarks/load.py", "from pickle import loads\n", "no-pickle"),
    "pickle's cousins": (SRC, source("import json, shelve\n"), "no-pickle"),
    "pickle knows no excuse": (SRC, source("import pickle  # tidy: just once\n"), "no-pickle"),
    "a leftover": (SRC, source(f"x = 1  # {TO_DO}: later\n"), "no-leftovers"),
    "a leftover in SQL": ("src/motet/store/sqlite/a.sql", f"-- {FIX_ME}\n", "no-leftovers"),
    "a home folder": (SRC, source('PATH = "/ho' + 'me/ann/motet.db"\n'), "no-home-path"),
    "root's home folder": (TEST, 'PATH = "/ro' + 'ot/motet.db"\n', "no-home-path"),
    "a home folder on Windows": (TEST, 'PATH = r"C:\\Use' + 'rs\\ann"\n', "no-home-path"),
    "a class named Manager": (SRC, source("class RunManager: ...\n"), "one-word-per-idea"),
    "a class named Jobs": (SRC, source("class JobsTable: ...\n"), "one-word-per-idea"),
    "a class with HTTP in its name": (SRC, source("class HTTPTask: ...\n"), "one-word-per-idea"),
    "a file named helpers": ("src/motet/store/sql_helpers.py", DOC, "one-word-per-idea"),
    "a folder named utils": ("examples/utils/clock.py", DOC, "one-word-per-idea"),
    "a file named utilities": ("tools/utilities.py", DOC, "one-word-per-idea"),
    "not Python": (SRC, "def f(:\n", "syntax"),
}


@pytest.mark.parametrize(("path", "text", "rule"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_breaks_one_rule(path: str, text: str, rule: str) -> None:
    assert rules(path, text) == [rule]


GOOD = {
    "file of 400 lines": (SRC, source("x = 1\n" * 399)),
    "function of 70 lines": (SRC, source("def f():\n" + "    x = 1\n" * 69)),
    "a long file of tests": (TEST, "x = 1\n" * 500),
    "no docstring in an example": ("examples/shop.py", "x = 1\n"),
    "the clock itself": (tidy.THE_CLOCK, source("import time\nnow = time.time\npause = time.sleep\n")),
    "an excused clock": (SRC, source("import time\nseed = time.time_ns()  # tidy: entropy, not time\n")),
    "time that is not the clock": (SRC, source("from datetime import time, timedelta\nx = time(12)\n")),
    "someone else's now": (SRC, source("class A:\n    def f(self, clock):\n        return clock.now()\n")),
    "the clock in a benchmark": ("benchmarks/load.py", "import time\nbegan = time.monotonic()\n"),
    "asyncio.sleep(0)": (SRC, source("import asyncio\nasync def f():\n    await asyncio.sleep(0)\n")),
    "asyncio.sleep(0) in a test": (TEST, "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n"),
    "a durable sleep in a test": (
        TEST,
        "import asyncio\nasync def body(flow):\n    await asyncio.sleep(9)\n",
    ),
    "an excused sleep": (TEST, "import time\ntime.sleep(1)  # tidy: the step under test hangs\n"),
    "a swallowed exception, explained": (
        SRC,
        source("try:\n    f()\nexcept Exception:\n    pass  # the reply is lost; the lease ends it\n"),
    ),
    "an expected exception": (SRC, source("try:\n    f()\nexcept KeyError:\n    pass\n")),
    "a handled exception": (SRC, source("try:\n    f()\nexcept Exception as e:\n    log(e)\n")),
    "suppress, explained": (
        SRC,
        source("import contextlib\nwith contextlib.suppress(Exception):  # closing twice is fine\n    f()\n"),
    ),
    "suppress what is expected": (
        SRC,
        source("from contextlib import suppress\nwith suppress(OSError):\n    f()\n"),
    ),
    "a picklejar": (SRC, source("import pickleball\n")),
    "a relative pickle": (SRC, source("from .codec import decode\n")),
    "todo in a name": (SRC, source("todos = mastodon = 1\n")),
    "a URL with home in it": (SRC, source('URL = "https://shop.example/home/ann"\n')),
    "the root of a tree": (SRC, source('NAME = "tree/root"\nOTHER = "/roots"\n')),
    "a word within a word": (SRC, source("class Multitasker: ...\nclass Taskforce: ...\n")),
    "a function may say task": (SRC, source("def cancel_tasks(): ...\n")),
    "an excused class": (SRC, source("class NumberedTask: ...  # tidy: it is an asyncio.Task\n")),
    "a file nobody checks": ("docs/conf.py", "import pickle\n"),
}


@pytest.mark.parametrize(("path", "text"), GOOD.values(), ids=GOOD.keys())
def test_a_good_file_breaks_none(path: str, text: str) -> None:
    assert rules(path, text) == []


def test_every_rule_is_made_to_fail() -> None:
    assert {rule for _, _, rule in BAD.values()} == {*tidy.SCOPES, "syntax"}


def test_a_finding_names_file_line_rule_and_reason() -> None:
    (finding,) = tidy.check(PurePosixPath(SRC), source("import json\nimport pickle\n"))
    assert str(finding) == f"{SRC}:3 no-pickle pickle: what is stored is JSON and names no class"


def test_the_whole_tree_is_read_and_generated_folders_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (
        "src/motet/app.py",
        "src/motet/__pycache__/app.py",
        "src/motet/web/static/app.py",
        "docs/app.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("import pickle\n")

    assert tidy.main(tmp_path) == 1

    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[:2] for line in printed[:-1]] == [
        ["src/motet/app.py:1", "module-docstring"],
        ["src/motet/app.py:1", "no-pickle"],
    ]
    assert printed[-1] == "tidy: 1 files, 2 findings"


def test_an_empty_tree_is_no_success(tmp_path: Path) -> None:
    assert tidy.main(tmp_path) == 1


def test_this_project_is_tidy(capsys: pytest.CaptureFixture[str]) -> None:
    assert tidy.main() == 0, capsys.readouterr().out
