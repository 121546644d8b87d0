"""Refuses blocking I/O inside a workflow body, in development mode and in the test kit.

Reading the source (`reading.py`) sees what a body calls itself. This sees what the functions do that it calls,
by Python's audit events, which the standard library raises for nearly all I/O (PEP 578).

    installed, off --set_guard(True)--> on --set_guard(False)--> off      an audit hook can never be removed

Invariants:

- Off, it costs one call and one comparison per audit event of the process. On, events that are no I/O cost a
  look-up more. Never installed, it costs nothing.
- What Python does on its own account goes through: imports, the source lines of a traceback or warning, time
  zones, log handlers, debuggers, finalizers of whatever objects happen to die during a drain.

Not caught: `time.sleep` before Python 3.13 and C extensions that raise no events (some database drivers).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import PurePath
from reprlib import Repr
from types import FrameType

from motet.errors import BlockingCallInWorkflow

REFUSED = frozenset(
    f"{group}{name}"
    for group, names in {
        "": "open time.sleep builtins.input subprocess.Popen pty.spawn webbrowser.open glob.glob glob.glob/2",
        "sqlite3.": "connect",
        "socket.": "connect bind sendto sendmsg getaddrinfo gethostbyname gethostbyaddr getnameinfo",
        "http.client.": "connect send",
        "urllib.": "Request",
        "ftplib.": "connect sendcmd",
        "imaplib.": "open send",
        "nntplib.": "connect putline",
        "poplib.": "connect putline",
        "smtplib.": "connect send",
        "telnetlib.": "Telnet.open Telnet.write",
        "os.": "system exec posix_spawn spawn fork forkpty startfile kill killpg "
        "remove rename mkdir rmdir link symlink truncate chmod chown chflags lchmod utime "
        "listdir scandir walk fwalk lockf getxattr setxattr removexattr listxattr",
        "fcntl.": "flock lockf",
        "msvcrt.": "locking",
        "pathlib.Path.": "glob rglob",
        "shutil.": "copyfile copymode copystat copytree move rmtree chown make_archive unpack_archive",
        "tempfile.": "mkstemp mkdtemp",
    }.items()
    for name in names.split()
)
"""The audit events that are I/O: https://docs.python.org/3/library/audit_events.html"""

_PYTHONS_OWN = ("importlib", "zipimport", "linecache", "tokenize", "traceback", "warnings", "weakref", "zoneinfo")
_DEBUGGERS = ("bdb", "pdb", "pydevd", "_pydevd_bundle", "debugpy", "coverage")
_LET_THROUGH = frozenset((*_PYTHONS_OWN, *_DEBUGGERS, "logging", "loguru", "structlog"))
"""Packages on whose account a workflow body may touch a file."""

_LOOP = "motet.orchestration.loop"

_short = Repr()
_short.maxstring = _short.maxother = 80


class _State:
    """What the hook looks at. It must outlive the module: events are raised until the interpreter is gone."""

    __slots__ = ("enabled", "installed", "is_in_body")

    def __init__(self) -> None:
        self.enabled = False
        self.installed = False
        self.is_in_body: Callable[[], bool] = bool


_state = _State()


def install_guard(is_in_body: Callable[[], bool]) -> None:
    """Install the audit hook, once per process, switched off.

    Args:
        is_in_body: whether the calling thread is running a workflow body right now.
    """
    _state.is_in_body = is_in_body
    if not _state.installed:
        _state.installed = True
        sys.addaudithook(_hook_for(_state))


def set_guard(enabled: bool) -> bool:
    """Switch the guard on or off for the process; return what it was before."""
    before, _state.enabled = _state.enabled, enabled
    return before


def _hook_for(state: _State) -> Callable[[str, tuple[object, ...]], None]:
    refused = REFUSED
    refuse = _refuse

    def hook(event: str, args: tuple[object, ...]) -> None:
        if state.enabled and event in refused and state.is_in_body():
            refuse(event, args)

    return hook


def _refuse(event: str, args: tuple[object, ...]) -> None:
    if not (_let_through() or (event == "open" and _is_time_zone(args[0]))):
        raise BlockingCallInWorkflow(
            f"{event}({_subject(args)}) is blocking I/O in a workflow body: it would hold up every run of "
            "this worker, and replay would repeat it; do this in a step"
        )


def _let_through() -> bool:
    """Whether, between the workflow's loop and the call, there is code that may do it."""
    frame: FrameType | None = sys._getframe(3)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module == _LOOP:
            return False
        if frame.f_code.co_name == "__del__" or str(module).partition(".")[0] in _LET_THROUGH:
            return True
        frame = frame.f_back
    return False


def _is_time_zone(path: object) -> bool:
    """Whether it is data of zoneinfo, which opens it from C and so shows in no frame."""
    module = sys.modules.get("zoneinfo")
    return module is not None and isinstance(path, str) and path.startswith(module.TZPATH)


def _subject(args: tuple[object, ...]) -> str:
    """The path, address or command; many events name the object first, which tells nothing."""
    for arg in args:
        if isinstance(arg, str | bytes | int | float | tuple | PurePath):
            return _short.repr(os.fspath(arg) if isinstance(arg, PurePath) else arg)
    return ""
