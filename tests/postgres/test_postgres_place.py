"""Which database can be a store, and which programs may use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import asyncpg
import pytest

from motet.errors import ConfigError, LeaseLost, StoreMissing, StoreRefused
from motet.model.clock import SYSTEM
from motet.store.open import store_at
from motet.store.postgres import schema
from motet.store.postgres.schema import SCHEMA_VERSION, steps
from motet.store.postgres_address import hide_password, parse
from motet.store.protocol import RunFilter, Store
from motet.testing.conformance.records import a_run
from motet.testing.conformance.setting import Scribe
from tests.postgres_server import Databases, database_at

Execute = Callable[[str], Awaitable[None]]


@pytest.fixture
async def opened(postgres_address: str) -> AsyncGenerator[Store]:
    store = store_at(postgres_address, SYSTEM)
    await store.open(create=True)
    yield store
    await store.close()


@pytest.fixture
async def execute(postgres_address: str) -> AsyncGenerator[Execute]:
    """Run SQL in the store's database, behind the store's back."""
    connection = await asyncpg.connect(postgres_address)

    async def run(sql: str) -> None:
        await connection.execute(sql)

    yield run
    await connection.close()


async def refusal(address: str, *, create: bool = True) -> str:
    store = store_at(address, SYSTEM)
    with pytest.raises((StoreRefused, StoreMissing)) as caught:
        await store.open(create=create)
    return str(caught.value)


async def test_a_database_that_is_not_there(postgres_address: str) -> None:
    assert "make the database first (createdb)" in await refusal(database_at(postgres_address, "nowhere"))


async def test_texts_need_utf8(postgres: Databases) -> None:
    address = postgres.make("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        said = await refusal(address)
    finally:
        postgres.drop_all()
    assert "keeps its texts as LATIN1" in said
    assert "createdb --encoding=UTF8" in said


async def test_a_schema_of_something_else_is_left_alone(postgres_address: str, execute: Execute) -> None:
    await execute("CREATE SCHEMA motet; CREATE TABLE motet.voices (id integer)")
    assert "has a schema 'motet' of something else, with voices" in await refusal(postgres_address)


async def test_a_schema_that_was_made_for_it_will_do(postgres_address: str, execute: Execute) -> None:
    await execute("CREATE SCHEMA motet; CREATE TABLE public.run (mine integer)")
    store = store_at(postgres_address, SYSTEM)
    await store.open(create=True)
    await store.commit([[a_run("r")]], None)
    assert [run.id for run in await store.runs(RunFilter())] == ["r"]
    await store.close()
    await execute("INSERT INTO public.run (mine) VALUES (1)")


async def test_many_that_migrate_at_once_make_one_store(postgres_address: str) -> None:
    stores = [store_at(postgres_address, SYSTEM) for _ in range(6)]
    await asyncio.gather(*(store.open(create=True) for store in stores))
    assert {(await store.schemas()).found for store in stores} == {SCHEMA_VERSION}
    assert len({store.identity for store in stores}) == 1  # type: ignore[attr-defined]
    for store in stores:
        await store.close()


async def test_an_older_store_is_only_migrated_by_who_works_with_it(
    postgres_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(schema, "SCHEMA_VERSION", 1)
        store = store_at(postgres_address, SYSTEM)
        await store.open(create=True)
        await store.close()
    assert f"has schema 1, this program speaks schema {SCHEMA_VERSION}" in await refusal(postgres_address, create=False)
    store = store_at(postgres_address, SYSTEM)
    await store.open(create=True)
    assert (await store.schemas()).found == SCHEMA_VERSION
    await store.close()


async def test_a_newer_store_is_used_as_long_as_it_says_so(
    postgres_address: str, opened: Store, execute: Execute
) -> None:
    worker = await Scribe.register(opened)
    await execute(f"UPDATE motet.schema SET version = {SCHEMA_VERSION + 1}")
    await worker.write(a_run("on"))
    later = store_at(postgres_address, SYSTEM)
    await later.open(create=True)
    assert await later.run("on") is not None
    await later.close()


async def test_and_no_longer(postgres_address: str, opened: Store, execute: Execute) -> None:
    """A worker of the version before writes nothing more, and is told why: it has not lost its lease."""
    worker = await Scribe.register(opened)
    await worker.write(a_run("before"))
    await execute(f"UPDATE motet.schema SET version = {SCHEMA_VERSION + 2}, oldest = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreRefused, match="upgrade Motet here and start anew"):
        await worker.write(a_run("after"))
    assert await opened.run("after") is None
    assert f"programs of schema {SCHEMA_VERSION + 1} and later" in await refusal(postgres_address)
    await execute(f"UPDATE motet.schema SET oldest = {SCHEMA_VERSION}")
    await worker.write(a_run("after"))
    assert await opened.bury(worker.id, worker.batch)
    with pytest.raises(LeaseLost):
        await worker.write(a_run("never"))


def test_each_step_says_who_may_go_on() -> None:
    for number, step in enumerate(steps(), 1):
        assert 1 <= step.oldest <= number


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:secret@h:5432/db", "postgresql://u:***@h:5432/db"),
        ("postgresql://u@h/db?password=secret&sslmode=require", "postgresql://u@h/db?password=***&sslmode=require"),
        ("postgres://h/db?listen=off", "postgres://h/db?listen=off"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///db?host=/run/postgresql"),
    ],
)
def test_a_password_is_never_shown(address: str, shown: str) -> None:
    assert hide_password(address) == shown
    assert parse(address).shown == shown
    assert store_at(address, SYSTEM).address == shown


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("postgresql://u:secret@h", "names no database"),
        ("postgresql://u:secret@h/db?listen=perhaps", "write listen=on or listen=off"),
        ("postgresql://u:secret@h/db?pooler=statement", "write pooler=transaction"),
        ("postgresql://u:secret@h:port/db", "is not understood"),
    ],
)
def test_an_address_that_cannot_be_meant(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        store_at(address, SYSTEM)
    assert "secret" not in str(caught.value)


def test_options_of_ours_and_of_the_drivers() -> None:
    plain = parse("postgresql://h/db?sslmode=require")
    assert (plain.listen, plain.pooled, "sslmode=require" in plain.dsn) == (True, False, True)
    pooled = parse("postgresql://h/db?pooler=transaction")
    assert (pooled.listen, pooled.pooled, "pooler" in pooled.dsn) == (False, True, False)


def test_several_hosts_are_a_primary_and_its_standbys() -> None:
    assert "target_session_attrs" not in parse("postgresql://h/db").dsn
    for hosts in ("postgresql://h:1,i:2/db", "postgresql:///db?host=h,i"):
        assert "target_session_attrs=primary" in parse(hosts).dsn
    assert "target_session_attrs=any" in parse("postgresql://h,i/db?target_session_attrs=any").dsn
