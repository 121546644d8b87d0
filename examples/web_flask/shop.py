"""The workflow, and the tables beside it: the stock is in the store's own database, so it is counted exactly once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CheckConstraint, Engine, NullPool, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from motet import App, Flow

STORE = os.environ.get("MOTET_STORE", "sqlite:///motet.db")
ON_FILE = STORE.startswith("sqlite")
STOCK = 5

shop = App("flaskshop", store=STORE)


class Base(DeclarativeBase):
    """Of all tables."""


class OrderRow(Base):
    """An order that a customer has placed."""

    __tablename__ = "orders"
    __table_args__ = (CheckConstraint("cents > 0"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str]
    cents: Mapped[int]


class Stock(Base):
    """How many of an item there are."""

    __tablename__ = "stock"
    __table_args__ = (CheckConstraint("left_over >= 0"),)

    item: Mapped[str] = mapped_column(primary_key=True)
    left_over: Mapped[int]


def make_engine() -> Engine:
    """Of SQLAlchemy, on the store's database."""
    if ON_FILE:
        return create_engine(STORE, poolclass=NullPool)
    return create_engine(STORE.replace("postgresql://", "postgresql+psycopg://", 1), pool_size=5)


def make_tables(engine: Engine) -> None:
    """Once, whoever comes first; with some lamps in stock."""
    with engine.begin() as connection:
        if not ON_FILE:
            connection.execute(text("SELECT pg_advisory_xact_lock(42)"))  # several processes start together
        Base.metadata.create_all(connection)
        connection.execute(text("INSERT INTO stock VALUES ('a lamp', :n) ON CONFLICT DO NOTHING"), {"n": STOCK})


@dataclass
class Order:
    """What a customer wants."""

    id: str
    item: str
    cents: int


class SoldOut(Exception):
    """There is nothing left of it."""


@shop.event("payment.received", key="order")
@dataclass
class PaymentReceived:
    """What the payment provider tells."""

    order: str
    cents: int


@shop.transaction(raises=[SoldOut])
def take_from_stock(connection: Any, order: Order) -> int:
    """One lamp less, together with the record that it was taken. A `sqlite3.Connection`, or the likeness of one of
    asyncpg's: they ask differently."""
    take = "UPDATE stock SET left_over = left_over - 1 WHERE item = {} AND left_over > 0 RETURNING left_over"
    if ON_FILE:
        row = connection.execute(take.format("?"), (order.item,)).fetchone()
    else:
        row = connection.fetchrow(take.format("$1"), order.item)
    if row is None:
        raise SoldOut(order.item)
    return int(row[0])


@shop.workflow(raises=[SoldOut])
async def fulfil(flow: Flow, order: Order) -> str:
    """Returns what is left of the item."""
    flow.note("waiting for the payment")
    await flow.wait(PaymentReceived, key=order.id, timeout=3600)
    left_over = await flow.transaction(take_from_stock, order)
    return f"{left_over} left"
