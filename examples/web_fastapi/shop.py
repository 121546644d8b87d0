"""The workflow: an order waits for its payment, for two days, then the parcel is sent; without a payment it lapses."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from motet import App, Flow, attempt

from .database import STORE, make_engine, make_tables

PATIENCE = timedelta(days=2)


@dataclass
class Order:
    """What a customer wants."""

    id: str
    item: str
    cents: int


@asynccontextmanager
async def lifespan(app: App) -> AsyncGenerator[AsyncEngine]:
    """What steps need: in a worker it is `shop.resources`."""
    engine = make_engine()
    await make_tables(engine)
    try:
        yield engine
    finally:
        await engine.dispose()


shop = App("webshop", store=STORE, lifespan=lifespan)


@shop.event("payment.received", key="order")
@dataclass
class PaymentReceived:
    """What the payment provider tells."""

    order: str
    cents: int


class NotPaid(Exception):
    """The customer has not paid in time."""


@shop.step
async def send_parcel(order: Order) -> str:
    """May be tried more than once; the key makes the parcel one."""
    key = attempt().key
    async with shop.resources.begin() as connection:
        await connection.execute(
            text("INSERT INTO parcels (key, order_id) VALUES (:key, :id) ON CONFLICT DO NOTHING"),
            {"key": key, "id": order.id},
        )
    return f"parcel for {order.id}"


@shop.workflow(raises=[NotPaid])
async def fulfil(flow: Flow, order: Order) -> str:
    """Returns the parcel's name."""
    flow.note("waiting for the payment")
    try:
        await flow.wait(PaymentReceived, key=order.id, timeout=PATIENCE)
    except TimeoutError:
        raise NotPaid(order.id) from None
    flow.note("paid")
    return await flow.step(send_parcel, order)
