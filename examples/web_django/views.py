"""The HTTP side: views as Django has them, `shop.sync`, and Django's own connection."""

from __future__ import annotations

import hashlib
import hmac
import json

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from motet import RunExists, RunNotFound

from .models import Order
from .shop import NewOrder, PaymentReceived, fulfil, shop


@csrf_exempt
@require_POST
def place_order(request: HttpRequest) -> HttpResponse:
    """The order's row and its run are one transaction: there is never the one without the other."""
    new = NewOrder(**json.loads(request.body))
    try:
        with transaction.atomic():
            shop.sync.start(fulfil, new, id=f"order-{new.id}", conn=connection)
            Order.objects.get_or_create(id=new.id, defaults={"item": new.item, "cents": new.cents})
    except RunExists:
        return JsonResponse({"error": f"there is another order with the id {new.id}"}, status=409)
    except IntegrityError:
        return JsonResponse({"error": "an order costs something"}, status=422)
    return JsonResponse({"order": new.id}, status=202, headers={"Location": f"/orders/{new.id}"})


@require_GET
def show_order(request: HttpRequest, id: str) -> HttpResponse:
    """Where the order stands."""
    try:
        status = shop.sync.status(f"order-{id}")
    except RunNotFound:
        return JsonResponse({"error": f"there is no order {id}"}, status=404)
    found = {"order": id, "state": status.state, "note": status.note, "result": status.result, "error": status.error}
    return JsonResponse(found)


@csrf_exempt
@require_POST
def payment_webhook(request: HttpRequest) -> HttpResponse:
    """The provider sends it until we say that we have it, so it comes twice now and then: its own id makes it one."""
    expected = hmac.new(settings.PAYMENT_SECRET.encode(), request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, request.headers.get("Payment-Signature", "")):
        return JsonResponse({"error": "the signature does not fit"}, status=401)
    payment = json.loads(request.body)
    shop.sync.publish(PaymentReceived(payment["order"], payment["cents"]), id=payment["id"])
    return HttpResponse(status=204)
