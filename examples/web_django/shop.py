"""The workflow. Workers load this module: it sets Django up, so that steps can use the models."""

from __future__ import annotations

import os
from dataclasses import dataclass

import django

from motet import App, Flow, attempt

os.environ.setdefault("DJANGO_SETTINGS_MODULE", f"{__package__}.settings")
django.setup()

from django.conf import settings  # noqa: E402 - Django is set up before its models are read
from django.db import close_old_connections  # noqa: E402

from .models import Parcel  # noqa: E402

shop = App("djangoshop", store=settings.STORE)


@dataclass
class NewOrder:
    """What a customer wants: plain data, and no model, for it is recorded."""

    id: str
    item: str
    cents: int


@shop.event("payment.received", key="order")
@dataclass
class PaymentReceived:
    """What the payment provider tells."""

    order: str
    cents: int


@shop.step
def send_parcel(order: NewOrder) -> str:
    """A plain function, in a thread of the worker's. May be tried more than once; the key makes the parcel one."""
    close_old_connections()  # as Django does itself before and after each request
    parcel, _ = Parcel.objects.get_or_create(key=attempt().key, defaults={"order_id": order.id})
    close_old_connections()
    return f"parcel for {parcel.order_id}"


@shop.workflow
async def fulfil(flow: Flow, order: NewOrder) -> str:
    """Returns the parcel's name."""
    flow.note("waiting for the payment")
    await flow.wait(PaymentReceived, key=order.id, timeout=3600)
    flow.note("paid")
    return await flow.step(send_parcel, order)
