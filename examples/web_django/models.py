"""The shop's own tables, in the database that is also Motet's store."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class Order(models.Model):
    """An order that a customer has placed."""

    id = models.CharField(primary_key=True, max_length=40)
    item = models.CharField(max_length=100)
    cents = models.IntegerField()

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(cents__gt=0), name="it_costs_something"),)


class Parcel(models.Model):
    """A parcel that was sent; `key` is the idempotency key of the step that sent it."""

    key = models.CharField(primary_key=True, max_length=200)
    order = models.ForeignKey(Order, on_delete=models.PROTECT)
