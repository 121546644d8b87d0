"""What a worker's metrics tell of reactions and expectations: how far behind, what is dead, what has not come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from motet.model.clock import SECOND, Micros
from motet.model.delivery import DEAD, DeliveryState
from motet.model.expected import ExpectedState
from motet.store.protocol import CursorRow, Store

NOT_COME: tuple[ExpectedState, ...] = ("open", "missed")


class Edges(NamedTuple):
    """As the store has them.

    Args:
        recorded: by position, when the first event behind it was recorded.
    """

    cursors: list[CursorRow]
    head: int
    recorded: dict[int, Micros]
    deliveries: dict[str, dict[DeliveryState, int]]
    expected: dict[str, dict[ExpectedState, int]]


async def read_edges(store: Store) -> Edges:
    """Costs as many steps as there are readers of the log, and rows that are not settled. Raises StoreError."""
    cursors = await store.cursors()
    return Edges(
        cursors, await store.head(), await store.recorded_behind([cursor.position for cursor in cursors]),
        await store.delivery_counts(), await store.not_come(),
    )  # fmt: skip


def of_edges(seen: Edges, now: Micros) -> Iterable[Metric]:
    """The gauges."""
    behind = GaugeMetricFamily(
        "motet_reaction_behind", "Events of the log that a reaction has still to read.", labels=["reaction"]
    )
    lag = GaugeMetricFamily(
        "motet_reaction_lag_seconds", "Since when the first of these is there; 0 if there is none.", labels=["reaction"]
    )
    dead = GaugeMetricFamily(
        "motet_dead_letters", "Deliveries that failed for good and need a person.", labels=["reaction"]
    )
    left = GaugeMetricFamily(
        "motet_deliveries_left_behind", "Deliveries that are tried again, or wait behind such.", labels=["reaction"]
    )
    expected = GaugeMetricFamily(
        "motet_expectations", "What is expected and has not come, by state.", labels=["expectation", "state"]
    )
    for cursor in seen.cursors:
        if cursor.kind == "expectation":
            counts = seen.expected.get(cursor.name, {})
            for state in NOT_COME:
                expected.add_metric([cursor.name, state], counts.get(state, 0))
            continue
        rows = seen.deliveries.get(cursor.name, {})
        since = seen.recorded.get(cursor.position, now)
        behind.add_metric([cursor.name], max(seen.head - cursor.position, 0))
        lag.add_metric([cursor.name], max(now - since, 0) / SECOND)
        dead.add_metric([cursor.name], sum(rows.get(state, 0) for state in DEAD))
        left.add_metric([cursor.name], rows.get("retrying", 0) + rows.get("waiting", 0))
    return (behind, lag, dead, left, expected)
