"""The HTTP side: plain functions, `shop.sync`, and a session of SQLAlchemy per request."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any

from flask import Flask, abort, request
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from motet import RunExists, RunNotFound

from .shop import Order, PaymentReceived, fulfil, make_engine, make_tables, shop

SECRET = os.environ.get("PAYMENT_SECRET", "only for trying it out").encode()

web = Flask(__name__)
engine = make_engine()
shop.sync.runs(limit=1)  # makes Motet's tables, if they are not there; a server that forks after this must not
shop.sync.close()  # inherit the connection, so it is closed, and each process opens its own when it needs one
make_tables(engine)
engine.dispose()


@web.post("/orders")
def place_order() -> Any:
    """The order's row and its run are one transaction: there is never the one without the other."""
    new = request.get_json()
    order = Order(new["id"], new["item"], new["cents"])
    try:
        with Session(engine) as session, session.begin():
            shop.sync.start(fulfil, order, id=f"order-{order.id}", conn=session)
            session.execute(
                text("INSERT INTO orders (id, item, cents) VALUES (:id, :item, :cents) ON CONFLICT (id) DO NOTHING"),
                new,
            )
    except RunExists:
        abort(409, f"there is another order with the id {order.id}")
    except IntegrityError:
        abort(422, "an order costs something")
    return {"order": order.id}, 202, {"Location": f"/orders/{order.id}"}


@web.get("/orders/<id>")
def show_order(id: str) -> Any:
    """Where the order stands."""
    try:
        status = shop.sync.status(f"order-{id}")
    except RunNotFound:
        abort(404, f"there is no order {id}")
    return {"order": id, "state": status.state, "note": status.note, "result": status.result, "error": status.error}


@web.post("/webhooks/payments")
def payment_webhook() -> Any:
    """The provider sends it until we say that we have it, so it comes twice now and then: its own id makes it one."""
    expected = hmac.new(SECRET, request.get_data(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, request.headers.get("Payment-Signature", "")):
        abort(401, "the signature does not fit")
    payment = request.get_json()
    shop.sync.publish(PaymentReceived(payment["order"], payment["cents"]), id=payment["id"])
    return "", 204
