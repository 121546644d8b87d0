"""`pip install .` in an empty environment gives a user all that the README says, in an empty folder."""

import json
import re
from collections.abc import Generator

import pytest

from tools.fresh_environment import ROOT, FreshEnvironment, fresh_environment

PROGRAM = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)[0]


@pytest.fixture(scope="module")
def fresh() -> Generator[FreshEnvironment]:
    with fresh_environment(ROOT) as environment:
        yield environment


def test_the_readmes_workflow_runs(fresh: FreshEnvironment) -> None:
    (fresh.folder / "shop.py").write_text(PROGRAM)
    assert fresh.run("python", "shop.py").splitlines() == ["charging Ann", "enrolling Ann", "seat 7"]
    status = json.loads(fresh.run("motet", "status", "purchase-42", "--json"))
    assert {"id", "workflow", "version", "state", "current", "done", "failed", "undo", "events", "conversation"} <= set(
        status
    )
    assert status["state"] == "completed"
    assert [event["type"] for event in status["events"]] == ["purchase.completed"]


def test_all_styles_of_the_demo_are_there(fresh: FreshEnvironment) -> None:
    services = ("billing", "enrollment", "notification", "analytics")
    code = "; ".join(f"import motet._examples.course_purchase.choreographed.{service}" for service in services)
    assert fresh.run("python", "-c", code) == ""
    told = json.loads(fresh.run("motet", "map", "motet._examples.course_purchase.choreographed.billing", "--json"))
    assert {"payment.captured", "enrollment.decided"} <= {event["name"] for event in told["events"]}


def test_the_demo_keeps_its_promises(fresh: FreshEnvironment) -> None:
    report = json.loads(fresh.run("motet", "demo", "--headless", "--json", "--purchases", "60").splitlines()[-1])
    assert report["purchases"] == 60
    assert report["charged"] - report["refunded"] == report["enrolled"] - report["removed"] == report["completed"]
    assert (report["lost"], report["repeated_steps"], report["duplicate_effects"]) == (0, 0, 0)
    assert report["worker_kills"] == 1
    assert report["in_flight_at_kill"] >= 10
    assert report["unanswered_at_kill"] >= 1
