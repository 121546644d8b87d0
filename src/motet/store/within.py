"""Writing a unit inside a transaction of the user's, whichever store and whichever connection it is."""

from __future__ import annotations

from motet.errors import WrongPlace
from motet.model.keyring import Keyring
from motet.store.borrowing.kinds import Asking, Awaiting, OnFile, OnThread
from motet.store.borrowing.recognising import recognise
from motet.store.mutations import Mutation
from motet.store.open import path_of
from motet.store.postgres_address import is_postgres
from motet.store.protocol import Receipt
from motet.store.sqlite.borrowed import write_within as write_within_sqlite

ONE = "what is to be one transaction must be in one database: name that one as the store, or leave conn= out"


def write_within(
    address: str, connection: object, unit: list[Mutation], identity: str | None, keys: Keyring | None = None
) -> Receipt:
    """Write the unit on the caller's thread, at once.

    Args:
        address: the store's.
        identity: which store it is, if that is known.
        keys: those that its payloads are sealed with.

    Raises:
        WrongType: it is no connection that we know.
        WrongPlace: it must be awaited, leads to another database, or has no transaction.
        ConfigError, StoreError.
    """
    borrowed = recognise(connection)
    if isinstance(borrowed, Awaiting | OnThread):
        raise WrongPlace(
            "conn is a connection that must be awaited, and app.sync does not await; use the async verb: "
            "await app.start(..., conn=conn), await app.publish(..., conn=conn)"
        )
    return _write(address, borrowed, unit, identity, keys)


async def write_within_async(
    address: str, connection: object, unit: list[Mutation], identity: str | None, keys: Keyring | None = None
) -> Receipt:
    """The same from an event loop; a connection that blocks holds it up for as long as a few statements take."""
    borrowed = recognise(connection)
    if isinstance(borrowed, Awaiting):
        _check_postgres(address)
        from motet.store.postgres.borrowed import ask_async, within  # noqa: PLC0415 - its driver is an extra

        return await ask_async(within(unit, address, identity, keys), borrowed.execute)
    if isinstance(borrowed, OnThread):
        path = _file(address)
        receipt: Receipt = await borrowed.call(lambda raw: write_within_sqlite(raw, path, unit, keys))
        return receipt
    return _write(address, borrowed, unit, identity, keys)


def _write(
    address: str, borrowed: OnFile | Asking, unit: list[Mutation], identity: str | None, keys: Keyring | None
) -> Receipt:
    if isinstance(borrowed, OnFile):
        return write_within_sqlite(borrowed.connection, _file(address), unit, keys)
    _check_postgres(address)
    from motet.store.postgres.borrowed import ask, within  # noqa: PLC0415 - its driver is an extra

    return ask(within(unit, address, identity, keys), borrowed.execute)


def _file(address: str) -> str:
    if is_postgres(address):
        raise WrongPlace(f"conn is a connection to a SQLite file, and the store is {address}; {ONE}")
    return path_of(address)


def _check_postgres(address: str) -> None:
    if not is_postgres(address):
        raise WrongPlace(f"conn is a connection to PostgreSQL, and the store is {address}; {ONE}")
