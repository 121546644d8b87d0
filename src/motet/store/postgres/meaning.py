"""What an error of the server, of the driver or of the network means to us.

    the connection, the server, its disk, a lock      StoreUnavailable: whoever asked waits and tries again
    data that it can never hold                       StoreRejected: the batch is split until the culprit is alone
    rights, passwords, another database               StoreRefused: a person has to see to it

Known by their SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html), whichever driver tells it.
"""

from __future__ import annotations

import asyncio

from motet.errors import StoreError, StoreMissing, StoreRefused, StoreRejected, StoreUnavailable

_BAD_DATA = ("22", "23", "54")
_NO_RIGHTS = ("28", "42501")
_GONE_TABLES = ("3F000", "42P01")
_NO_DATABASE = "3D000"
_READ_ONLY = "25006"
_DRIVERS = ("InterfaceError", "InternalClientError")
"""The second is what asyncpg says, now and then, of a connection that has ended in the middle of an answer."""


def sqlstate_of(error: BaseException) -> str | None:
    """The server's code, also where another library has wrapped its driver's error."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        for name in ("sqlstate", "pgcode"):
            code = getattr(found, name, None)
            if isinstance(code, str):
                return code
        found = getattr(found, "orig", None) or found.__cause__
    return None


def told(error: BaseException, place: str) -> StoreError:
    """The error of ours that says it; `place` is the store's address as it may be shown."""
    if isinstance(error, StoreError):
        return error
    code = sqlstate_of(error)
    if code is None:
        if _is_unencodable(error):
            return StoreRejected(f"store {place} refuses a record: {error}")
        return StoreUnavailable(f"store {place} does not answer: {_words(error)}")
    if code.startswith(_BAD_DATA):
        return StoreRejected(f"store {place} refuses a record: {_words(error)}")
    if code.startswith(_NO_RIGHTS):
        return StoreRefused(f"store {place} does not let this user in, or do this: {_words(error)}; grant it the right")
    if code == _NO_DATABASE:
        return StoreMissing(f"there is no store at {place}: {_words(error)}; make the database first (createdb)")
    if code in _GONE_TABLES:
        return StoreRefused(f"the tables of store {place} are not there any more: {_words(error)}")
    if code == _READ_ONLY:
        return StoreUnavailable(f"store {place} cannot be written now, it is a replica or set read-only: {error}")
    return StoreUnavailable(f"store {place} does not answer: {_words(error)} ({code})")


def is_trouble(error: BaseException) -> bool:
    """Whether it is one that a store can have, and no mistake of our own code's."""
    return (
        sqlstate_of(error) is not None or isinstance(error, StoreError | OSError | TimeoutError) or _is_drivers(error)
    )


def is_unclear(error: BaseException) -> bool:
    """Whether the connection is to be given up: it is broken, or nobody knows what state it is in."""
    if isinstance(error, StoreError) or _is_unencodable(error):
        return False
    code = sqlstate_of(error)
    return code is None or code[:2] in ("08", "57", "58", "XX") or code in ("25P03", "25P04")


def _is_unencodable(error: BaseException) -> bool:
    """The driver could not turn it into what is sent: half a surrogate pair, a number too large."""
    return isinstance(error, UnicodeError) or (isinstance(error, ValueError) and _is_drivers(error))


def _is_drivers(error: BaseException) -> bool:
    return isinstance(error, asyncio.IncompleteReadError) or any(
        kind.__name__ in _DRIVERS for kind in type(error).__mro__
    )


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return str(error) or type(error).__name__
