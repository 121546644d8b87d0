"""The shop's own tables, in the database that is also Motet's store: so an order and its run can be one transaction."""

from __future__ import annotations

import os

from sqlalchemy import CheckConstraint, NullPool, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

STORE = os.environ.get("MOTET_STORE", "sqlite:///motet.db")


class Base(DeclarativeBase):
    """Of all tables."""


class OrderRow(Base):
    """An order that a customer has placed."""

    __tablename__ = "orders"
    __table_args__ = (CheckConstraint("cents > 0"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str]
    cents: Mapped[int]


class Parcel(Base):
    """A parcel that was sent; `key` is the idempotency key of the step that sent it."""

    __tablename__ = "parcels"

    key: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[str]


def make_engine() -> AsyncEngine:
    """An engine of SQLAlchemy on the store's database."""
    if STORE.startswith("sqlite"):
        # NullPool: aiosqlite's connections are threads, and none should outlive what it was opened for.
        return create_async_engine(STORE.replace("sqlite://", "sqlite+aiosqlite://", 1), poolclass=NullPool)
    return create_async_engine(STORE.replace("postgresql://", "postgresql+asyncpg://", 1))


async def make_tables(engine: AsyncEngine) -> None:
    """Once, whoever comes first."""
    async with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(42)"))  # several processes start together
        await connection.run_sync(Base.metadata.create_all)
