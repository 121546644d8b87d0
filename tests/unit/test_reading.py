"""What does not belong into a workflow's body is found in its source, and nothing else."""

from __future__ import annotations

import linecache
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent, indent
from types import ModuleType

import pytest

from motet.orchestration.reading import Suspicion, suspicious_calls

Load = Callable[..., ModuleType]
Read = Callable[..., list[tuple[str, str]]]

HEADER = """
import asyncio, builtins, datetime as dt, glob, io, os, os.path, pathlib, platform, queue, random, secrets, shutil
import socket, sqlite3, subprocess, tempfile, threading, time, urllib.request, uuid, concurrent.futures
from datetime import date, datetime
from os import environ, getenv
from pathlib import Path
from random import choice as pick
from time import time as now, sleep as pause
"""


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    def make(body: str, before: str = "") -> ModuleType:
        path = tmp_path / "shop.py"
        header = HEADER + dedent(before)
        path.write_text(header + "async def body(flow, item):\n" + indent(dedent(body), "    "), encoding="utf-8")
        module = ModuleType("shop")
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))
        return module

    yield make
    linecache.clearcache()


@pytest.fixture
def read(load: Load) -> Read:
    """The calls that are found, with their reason."""

    def of(body: str, before: str = "") -> list[tuple[str, str]]:
        return [(found.call, found.reason) for found in suspicious_calls(load(body, before).body)]

    return of


FOUND = {
    "reads the clock": """
        time.time()
        time.monotonic_ns()
        time.perf_counter()
        now()
        time.gmtime()
        time.strftime('%H')
        datetime.now()
        datetime.now(tz=None)
        datetime.today()
        dt.datetime.utcnow()
        dt.date.today()
        date.today()
    """,
    "leaves it to chance": """
        random.random()
        pick([1, 2])
        random.shuffle(item)
        random.seed(4)
        random.Random()
        random.SystemRandom()
        secrets.token_hex(8)
        os.urandom(4)
    """,
    "makes a UUID": """
        uuid.uuid1()
        uuid.uuid4()
    """,
    "does I/O": """
        open('a')
        builtins.open('a')
        io.open('a')
        input()
        os.open('a', 0)
        os.system('ls')
        os.remove('a')
        os.path.exists('a')
        os.listdir()
        glob.glob('*')
        shutil.rmtree('a')
        tempfile.mkdtemp()
        Path('a').read_text()
        (Path('a') / 'b').write_text('c')
        pathlib.Path('a').open()
        subprocess.run(['ls'])
        subprocess.Popen('ls')
        socket.socket()
        socket.create_connection(item)
        urllib.request.urlopen('http://a')
        sqlite3.connect('a.db')
        asyncio.open_connection('a', 1)
        asyncio.create_subprocess_exec('a')
    """,
    "holds up all runs of its worker": """
        time.sleep(3)
        pause(3)
    """,
    "reads the environment, which may differ in replay": """
        os.environ['A']
        environ['A']
        os.environ
        os.getenv('A')
        getenv('A')
        platform.node()
        socket.gethostname()
    """,
    "leaves its event loop": """
        threading.Thread(target=item)
        asyncio.to_thread(item)
        concurrent.futures.ThreadPoolExecutor()
    """,
    "depends on this very process": """
        id(item)
        hash(item)
        os.getpid()
    """,
    "makes what has no fixed place in a set": """
        asyncio.Future()
        asyncio.Task(item)
    """,
    "asks for tasks in an order that differs between processes": """
        asyncio.all_tasks()
    """,
}


@pytest.mark.parametrize("reason", FOUND)
def test_what_is_found(read: Read, reason: str) -> None:
    calls = dedent(FOUND[reason]).strip()
    assert read(calls) == [(call, reason) for call in calls.splitlines()]


@pytest.mark.parametrize(
    "harmless",
    [
        "flow.now(); flow.random(); flow.uuid()",
        "await asyncio.sleep(5)",
        "asyncio.create_task(item()); asyncio.get_running_loop().create_future()",
        "uuid.uuid5(uuid.NAMESPACE_DNS, item)",
        "secrets.compare_digest('a', 'b')",
        "datetime(2020, 1, 1); datetime.fromisoformat(item)",
        "time.gmtime(5); time.strftime('%H', item); time.localtime(item)",
        "rng = random.Random(item); rng.random(); rng.choice([1])",
        "Path('a').name; Path('a') / 'b'; Path('a').with_suffix('.b')",
        "os.path.join('a', 'b'); os.path.basename(item); os.sep",
        "sorted({'a', 'b'}); len({'a'}); 'a' in {'a', 'b'}",
        "for number in {1, 2, 3}: pass",
        "for key in {'a': 1}: pass",
        "item.open(); item.now(); item.random()",
        "time = item; time.time()",
        "def open(path): ...\nopen('a')",
        "def inner(now, random): return now(), random.random()",
        "[time.time() for time in item]",
        "match item:\n    case {'now': now}: now()",
        "with item as now: now()",
        "from shop_of_mine import open\nopen('a')",
    ],
)
def test_what_is_harmless(read: Read, harmless: str) -> None:
    assert read(harmless) == []


def test_a_function_of_yours_with_a_suspicious_name(read: Read) -> None:
    before = """
        def open(path): ...
        def now(): ...
        class time:
            @staticmethod
            def time(): ...
        class Box:
            def __getattr__(self, name): raise AssertionError("never called")
        box = Box()
    """
    assert read("open('a'); now(); time.time(); box.read_text(); box.now()", before) == []


def test_through_closures_aliases_and_local_imports(load: Load) -> None:
    shop = load(
        "item()",
        """
        def make(clock):
            async def body(flow):
                import time as t
                from random import random as draw, choice
                import not_installed_here as nothing, requests
                read_clock = t.monotonic
                again = read_clock
                clock()
                again()
                draw()
                choice([1])
                requests.get("http://a")
                folder = Path("a")
                file = folder / "b"
                file.read_bytes()
                nothing.at_all()

                def nested():
                    return t.time()
            return body
        inner = make(time.perf_counter)
        """,
    )
    found = suspicious_calls(shop.inner)
    assert [suspicion.call for suspicion in found] == [
        "clock()", "again()", "draw()", "choice([1])", "requests.get('http://a')", "file.read_bytes()", "t.time()",
    ]  # fmt: skip


def test_instances_that_all_runs_share(read: Read) -> None:
    before = """
        rng = random.Random(7)
        database = sqlite3.connect(":memory:")
        folder = Path("a")
        jobs = queue.Queue()
    """
    assert read("rng.random()\ndatabase.execute('x')\nfolder.joinpath('x')\nfolder.exists()\njobs.get()", before) == [
        ("rng.random()", "leaves it to chance"),
        ("database.execute('x')", "does I/O"),
        ("folder.exists()", "does I/O"),
        ("jobs.get()", "leaves its event loop"),
    ]


def test_a_global_generator_is_known_for_what_it_is() -> None:
    """`random.random` and its like are methods of one hidden generator."""
    assert random.random.__self__ is random.choice.__self__  # type: ignore[attr-defined]


def test_numpy(read: Read) -> None:
    before = "import numpy as np\nfrom numpy.random import rand\n"
    assert [call for call, _ in read("np.random.rand(3)\nrand()\nnp.random.default_rng()\nnp.array([1])", before)] == [
        "np.random.rand(3)", "rand()", "np.random.default_rng()",
    ]  # fmt: skip
    assert read("np.random.default_rng(5).random()", before) == []


def test_the_order_of_sets(read: Read) -> None:
    found = read("""
        for name in {"a", "b"}: pass
        for name in set(item): pass
        names = frozenset(item)
        [name for name in names]
        list(names)
        asyncio.gather(*{item})
        {name: 1 for name in {part for part in item}}
        enumerate({item.a, item.b})
    """)
    assert [call for call, _ in found] == [
        "{'a', 'b'}", "set(item)", "names", "names", "{item}", "{part for part in item}", "{item.a, item.b}",
    ]  # fmt: skip
    assert {reason for _, reason in found} == {"iterates over a set, whose order differs between processes"}


def test_a_line_that_is_right_all_the_same(read: Read) -> None:
    body = """
        time.time()  # motet: ok only for the log
        time.time()  # motet: ok
        random.choice(  # motet: ok any will do
            [1, 2],
        )
        os.urandom(
            4,  # motet:ok it is a test
        )
    """
    assert read(body) == [("time.time()", "reads the clock")]


def test_each_expression_is_reported_once(read: Read) -> None:
    assert read("open('a').read(); Path(os.getcwd()).read_text()") == [
        ("open('a')", "does I/O"),
        ("Path(os.getcwd()).read_text()", "does I/O"),
        ("os.getcwd()", "reads the environment, which may differ in replay"),
    ]
    assert [call for call, _ in read("time.time() - time.monotonic()")] == ["time.time()", "time.monotonic()"]


def test_the_place_and_the_text(load: Load) -> None:
    shop = load("if item:\n    later = item + now()\n")
    line = HEADER.count("\n") + 3
    assert suspicious_calls(shop.body) == (
        Suspicion(line, 23, "now()", "reads the clock", "use flow.now(), which is the same in replay"),
    )
    assert suspicious_calls(shop.body)[0].warning_text("run_purchase", "shop.py") == (
        f"workflow run_purchase reads the clock: now() at shop.py:{line}; use flow.now(), which is the same in replay "
        "(silence with '# motet: ok <reason>')"
    )


def test_the_advice_knows_the_name_of_the_flow(load: Load) -> None:
    shop = load("pass", "async def other(f): random.random()\n")
    assert suspicious_calls(shop.other)[0].advice == "use f.random(), which is the same in replay"


def test_long_calls_are_shortened(read: Read) -> None:
    assert read("subprocess.run(['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight'])") == [
        ("subprocess.run(...)", "does I/O")
    ]


def test_what_has_no_source() -> None:
    made: dict[str, Callable[..., object]] = {}
    exec("import time\nasync def body(flow): time.time()", made)
    assert suspicious_calls(made["body"]) == ()
    assert suspicious_calls(len) == ()


def test_nothing_is_imported(load: Load) -> None:
    loaded = set(sys.modules)
    suspicious_calls(load("import turtledemo\nturtledemo.main()\nimport xmlrpc.client\n").body)
    assert set(sys.modules) - loaded == set()
