"""What does not belong into a workflow's body: the lists that `reading.py` reads by.

Invariant: objects are compared by identity, and only with what is loaded anyway; nothing is imported or called.
A name of a library that is not loaded can only come from an import inside the body, and is compared as text.

Not here: completeness. Listed is what the standard library and the usual clients offer; the rest is for the guard,
the loop's refusals and the docs.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from types import BuiltinFunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from motet.orchestration.source import Found, imported


class Suspect(NamedTuple):
    """What it does to a workflow, and what to do instead. `flow` stands for the workflow's own name of it."""

    reason: str
    advice: str


CLOCK = Suspect("reads the clock", "use flow.now(), which is the same in replay")
CHANCE = Suspect("leaves it to chance", "use flow.random(), which is the same in replay")
UUID = Suspect("makes a UUID", "use flow.uuid(), which is the same in replay")
INPUT_OUTPUT = Suspect("does I/O", "do this in a step")
SLEEP = Suspect("holds up all runs of its worker", "use flow.sleep(...), which lasts through a crash")
ENVIRONMENT = Suspect("reads the environment, which may differ in replay", "do this in a step")
THREAD = Suspect("leaves its event loop", "do this in a step")
ADDRESS = Suspect("depends on this very process", "compare and sort by a field of your data")
SET_ORDER = Suspect("iterates over a set, whose order differs between processes", "use sorted(...)")
TASK_ORDER = Suspect("asks for tasks in an order that differs between processes", "keep a list of your own")
UNORDERED = Suspect(
    "makes what has no fixed place in a set", "use asyncio.create_task or asyncio.get_running_loop().create_future"
)

_VERBS = "request get post put patch delete head options"

_LISTED: dict[Suspect, dict[str, str]] = {
    CLOCK: {
        "time": "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns "
        "thread_time thread_time_ns clock_gettime clock_gettime_ns localtime gmtime ctime asctime strftime",
        "datetime.datetime": "now utcnow today",
        "datetime.date": "today",
        "pendulum": "now today",
        "arrow": "now utcnow",
        "django.utils.timezone": "now localdate localtime",
    },
    CHANCE: {
        "os": "urandom getrandom",
        "random": "Random SystemRandom",
        "numpy.random": "default_rng RandomState",
    },
    UUID: {"uuid": "uuid1 uuid4 uuid6 uuid7"},
    SLEEP: {"time": "sleep"},
    ENVIRONMENT: {"os": "getenv getenvb getcwd", "platform": "node uname", "socket": "gethostname getfqdn"},
    THREAD: {
        "asyncio": "to_thread run_coroutine_threadsafe run",
        "concurrent.futures": "ThreadPoolExecutor ProcessPoolExecutor",
        "multiprocessing": "Process Pool",
        "threading": "Thread Timer",
        "_thread": "start_new_thread",
    },
    ADDRESS: {"builtins": "id hash", "os": "getpid getppid", "threading": "get_ident current_thread"},
    TASK_ORDER: {"asyncio": "all_tasks"},
    UNORDERED: {"asyncio": "Future Task"},
    INPUT_OUTPUT: {
        "builtins": "open input",
        "asyncio": "open_connection open_unix_connection start_server start_unix_server "
        "create_subprocess_exec create_subprocess_shell",
        "os": "open read write system popen remove unlink rename replace renames link symlink mkdir makedirs rmdir "
        "removedirs listdir scandir walk fwalk stat lstat access chmod chown truncate utime kill killpg fork "
        "execl execle execlp execlpe execv execve execvp execvpe posix_spawn posix_spawnp startfile "
        "spawnl spawnle spawnlp spawnlpe spawnv spawnve spawnvp spawnvpe wait waitpid",
        "os.path": "exists lexists isfile isdir islink ismount getsize getmtime getatime getctime realpath samefile",
        "glob": "glob iglob",
        "fileinput": "input FileInput",
        "shutil": "copy copy2 copyfile copyfileobj copymode copystat copytree move rmtree make_archive "
        "unpack_archive disk_usage chown which",
        "tempfile": "TemporaryFile NamedTemporaryFile SpooledTemporaryFile TemporaryDirectory mkstemp mkdtemp",
        "subprocess": "run call check_call check_output Popen getoutput getstatusoutput",
        "socket": "socket create_connection create_server socketpair getaddrinfo gethostbyname gethostbyname_ex "
        "gethostbyaddr getnameinfo fromfd",
        "select": "select poll epoll kqueue",
        "signal": "pause sigwait",
        "sqlite3": "connect",
        "dbm": "open",
        "shelve": "open",
        "urllib.request": "urlopen urlretrieve",
        "http.client": "HTTPConnection HTTPSConnection",
        "ftplib": "FTP FTP_TLS",
        "imaplib": "IMAP4 IMAP4_SSL",
        "poplib": "POP3 POP3_SSL",
        "smtplib": "SMTP SMTP_SSL LMTP",
        "webbrowser": "open",
        "getpass": "getpass",
        "requests": f"{_VERBS} Session session",
        "httpx": f"{_VERBS} stream Client AsyncClient",
        "urllib3": "request PoolManager",
        "aiohttp": "ClientSession request",
        "asyncpg": "connect create_pool",
        "psycopg": "connect",
        "psycopg2": "connect",
        "pymongo": "MongoClient",
        "redis": "Redis StrictRedis from_url",
        "boto3": "client resource Session",
        "aiofiles": "open",
    },
}

_CALLS: dict[str, Suspect] = {
    f"{module}.{name}": suspect
    for suspect, modules in _LISTED.items()
    for module, names in modules.items()
    for name in names.split()
}

_MODULES = tuple({module for modules in _LISTED.values() for module in modules})

_LAZY_MODULES = ("concurrent.futures.thread", "concurrent.futures.process")
"""Loaded when a name of their package is first used."""

_FAMILIES = {"random": CHANCE, "secrets": CHANCE, "numpy.random": CHANCE}
"""Modules of which every function is suspicious, but for these."""
_HARMLESS = frozenset(
    ("secrets.compare_digest", "numpy.random.Generator", "numpy.random.SeedSequence", "numpy.random.BitGenerator")
)

_NEEDS = {
    "time.strftime": 2,
    **dict.fromkeys(("time.localtime", "time.gmtime", "time.ctime", "time.asctime"), 1),
    **dict.fromkeys(("random.Random", "numpy.random.default_rng", "numpy.random.RandomState"), 1),
}
"""With that many arguments it depends on these alone: `time.gmtime(seconds)`, `random.Random(seed)`."""

_PATH = (
    "read_text read_bytes write_text write_bytes open exists is_file is_dir is_symlink is_mount is_socket stat lstat "
    "iterdir walk glob rglob mkdir rmdir unlink rename replace touch chmod symlink_to hardlink_to readlink resolve "
    "samefile owner group copy copy_into move move_into"
)
_METHODS: dict[str, tuple[str | None, Suspect]] = {
    "pathlib.Path": (_PATH, INPUT_OUTPUT),
    "socket.socket": (
        "connect connect_ex bind listen accept send sendall sendto recv recv_into recvfrom",
        INPUT_OUTPUT,
    ),
    "sqlite3.Connection": ("execute executemany executescript commit rollback cursor backup", INPUT_OUTPUT),
    "sqlite3.Cursor": ("execute executemany executescript fetchone fetchmany fetchall", INPUT_OUTPUT),
    "http.client.HTTPConnection": ("connect request getresponse send", INPUT_OUTPUT),
    "smtplib.SMTP": ("connect login sendmail send_message quit", INPUT_OUTPUT),
    "requests.Session": (f"{_VERBS} send", INPUT_OUTPUT),
    "httpx.Client": (f"{_VERBS} send stream", INPUT_OUTPUT),
    "httpx.AsyncClient": (f"{_VERBS} send stream", INPUT_OUTPUT),
    "aiohttp.ClientSession": (f"{_VERBS} ws_connect", INPUT_OUTPUT),
    "queue.Queue": ("get put join", THREAD),
    "concurrent.futures.Executor": ("submit map shutdown", THREAD),
    "random.Random": (None, CHANCE),
    "numpy.random.Generator": (None, CHANCE),
    "numpy.random.RandomState": (None, CHANCE),
}
"""The methods of instances; None is all of them, where the instance is not the body's own."""


class Suspects:
    """The lists, with the objects that they mean in this process."""

    def __init__(self) -> None:
        self._names: dict[object, str] = {}
        self._held: list[object] = []  # what is known by its identity must not go
        for name in _CALLS:
            self._add(name)
        for module in _FAMILIES:
            for name, value in vars(sys.modules[module]).items() if module in sys.modules else ():
                if callable(value) and not name.startswith("_"):
                    self._add(f"{module}.{name}")
        self._methods = [
            (found.value, methods and frozenset(methods.split()), suspect)
            for name, (methods, suspect) in _METHODS.items()
            if isinstance((found := imported(name)).value, type)
        ]

    def of_call(self, called: Found, arguments: int) -> Suspect | None:
        """What is wrong with calling this, with so many arguments."""
        name = self._names.get(_identity(called.value)) if called.known else called.name
        if name is None or name in _HARMLESS or arguments >= _NEEDS.get(name, sys.maxsize):
            return None
        return _CALLS.get(name) or _FAMILIES.get(name.rpartition(".")[0])

    def of_method(self, owner: type[Any], method: str, made_here: bool) -> Suspect | None:
        """What is wrong with this method of an instance of that class."""
        for kind, methods, suspect in self._methods:
            if kind in owner.__mro__ and not method.startswith("_"):
                if methods is None and not made_here:
                    return suspect
                if methods is not None and method in methods:
                    return suspect
        return None

    def is_environment(self, found: Found) -> bool:
        return found.value is os.environ or found.name == "os.environ"

    def _add(self, name: str) -> None:
        found = imported(name)
        if found.known:
            self._names.setdefault(_identity(found.value), name)
            self._held.append(found.value)


def current_suspects() -> Suspects:
    """Made anew only when another of the listed libraries has been loaded."""
    return _suspects(frozenset(module for module in (*_MODULES, *_LAZY_MODULES) if module in sys.modules))


@lru_cache(maxsize=1)
def _suspects(_loaded: frozenset[str]) -> Suspects:
    return Suspects()


def _identity(value: object) -> object:
    """Methods are bound anew at each look, so what counts is whose they are and which."""
    if isinstance(value, MethodType | BuiltinFunctionType):
        owner: object = value.__self__
        if owner is not None and not isinstance(owner, ModuleType):
            return id(owner), value.__name__
    return id(value)
