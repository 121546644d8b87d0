"""The HTTP side. Any number of these processes may run; none of them drives a run, which is the workers' part."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from motet import RunExists, RunNotFound

from .database import make_engine, make_tables
from .shop import Order, PaymentReceived, fulfil, shop

SECRET = os.environ.get("PAYMENT_SECRET", "only for trying it out").encode()


@asynccontextmanager
async def lifespan(web: FastAPI) -> AsyncGenerator[None]:
    engine = web.state.engine = make_engine()
    await make_tables(engine)
    async with shop.connect():
        yield
    await engine.dispose()


web = FastAPI(lifespan=lifespan)


class NewOrder(BaseModel):
    """The body of a request. The customer's side chooses the id: a request that is sent twice is one order."""

    id: str
    item: str
    cents: int


@web.post("/orders", status_code=202)
async def place_order(new: NewOrder, request: Request, response: Response) -> dict[str, str]:
    """The order's row and its run are one transaction: there is never the one without the other."""
    order = Order(new.id, new.item, new.cents)
    try:
        async with AsyncSession(request.app.state.engine) as session, session.begin():
            run = await shop.start(fulfil, order, id=f"order-{order.id}", conn=session)
            await session.execute(
                text("INSERT INTO orders (id, item, cents) VALUES (:id, :item, :cents) ON CONFLICT (id) DO NOTHING"),
                new.model_dump(),
            )
    except RunExists as error:
        raise HTTPException(409, f"there is another order with the id {order.id}") from error
    except IntegrityError as error:
        raise HTTPException(422, "an order costs something") from error
    response.headers["Location"] = f"/orders/{order.id}"
    return {"order": order.id, "run": run.id}


@web.get("/orders/{id}")
async def show_order(id: str) -> dict[str, Any]:
    """Where the order stands."""
    try:
        status = await shop.status(f"order-{id}")
    except RunNotFound as error:
        raise HTTPException(404, f"there is no order {id}") from error
    return {"order": id, "state": status.state, "note": status.note, "result": status.result, "error": status.error}


@web.post("/webhooks/payments", status_code=204)
async def payment_webhook(request: Request, payment_signature: Annotated[str, Header()] = "") -> None:
    """The provider sends it until we say that we have it, so it comes twice now and then: its own id makes it one."""
    body = await request.body()
    expected = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, payment_signature):
        raise HTTPException(401, "the signature does not fit")
    payment = PaymentNotice.model_validate_json(body)
    await shop.publish(PaymentReceived(payment.order, payment.cents), id=payment.id)


class PaymentNotice(BaseModel):
    """What the provider sends."""

    id: str
    order: str
    cents: int
