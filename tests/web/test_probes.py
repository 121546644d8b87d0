"""`/health`, `/ready` and `/metrics`, asked over real HTTP while a worker lives, is in trouble, drains."""

import asyncio
import http.client
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from motet import App, Event, Flow, Retry
from motet.errors import ConfigError, LeaseLost, StoreUnavailable
from motet.model.clock import SYSTEM
from motet.runtime.worker import Worker
from motet.store.protocol import Subscription
from motet.web import probes
from motet.web.probes import Probes, Ticks
from motet.web.server import serving

PATIENCE_SECONDS = 30
DOCS = Path(__file__).parents[2] / "docs" / "workers.md"


@dataclass
class Answer:
    code: int
    text: str
    type: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def samples(self) -> dict[tuple[str, str], float]:
        """By name and the one label's value, as Prometheus itself reads them."""
        assert self.code == 200, self.text
        families = list(text_string_to_metric_families(self.text))
        return {
            (sample.name, "".join(sample.labels.values())): sample.value
            for family in families
            for sample in family.samples
        }


async def ask(port: int, path: str) -> Answer:
    def get() -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        connection.request("GET", path)
        reply = connection.getresponse()
        answer = Answer(reply.status, reply.read().decode(), reply.headers["content-type"])
        connection.close()
        return answer

    return await asyncio.to_thread(get)


class Shop:
    """An app whose steps hold until they are let go, and its probes."""

    def __init__(self, folder: Path) -> None:
        self.app = App("shop", store=f"sqlite:///{folder / 'motet.db'}")
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

        @self.app.step
        async def hold() -> None:
            self.begun.set()
            await self.go.wait()

        @self.app.workflow
        async def walk(flow: Flow) -> None:
            await flow.step(hold)

        @self.app.workflow(raises=[ValueError])
        async def fail(flow: Flow) -> None:
            raise ValueError("as declared")

        @self.app.workflow
        async def wait(flow: Flow) -> None:
            await flow.sleep(3600)

        self.walk, self.fail, self.wait = walk, fail, wait
        self.probes = Probes(self.app)

    @property
    def worker(self) -> Worker:
        worker = self.app.client.worker
        assert worker is not None
        return worker

    @asynccontextmanager
    async def answering(self) -> AsyncGenerator[int]:
        self.probes.ticks.start()
        async with serving(self.probes.routes(), "127.0.0.1", 0) as port:
            yield port
        self.probes.ticks.stop()


@pytest.fixture
async def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


async def until(port: int, path: str, code: int) -> Answer:
    """Ask until it answers with this code."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (answer := await ask(port, path)).code != code:
            pass
    return answer


async def test_a_worker_is_ready_from_its_registration_until_it_is_asked_to_stop(shop: Shop) -> None:
    async with shop.answering() as port:
        early = await ask(port, "/ready")
        assert (early.code, early.json["ready"]) == (503, False)
        assert (await ask(port, "/health")).json == {"healthy": True}
        async with shop.app.worker():
            assert (await ask(port, "/ready")).json == {"ready": True}
            await shop.app.start(shop.walk, id="a")
            await shop.begun.wait()

            async def look_while_it_drains() -> Answer:
                answer = await until(port, "/ready", 503)
                assert (await ask(port, "/health")).code == 200, "one that drains is healthy"
                assert (await ask(port, "/metrics")).code == 200
                shop.go.set()
                return answer

            looking = asyncio.create_task(look_while_it_drains())
        assert "asked to stop" in (await looking).json["why"]
        assert (await ask(port, "/nothing")).code == 404


async def test_a_worker_that_was_declared_dead_is_not_ready_until_it_is_registered_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop.answering() as port, shop.app.worker():
        worker = shop.worker
        registered = asyncio.Event()
        register = worker._register

        async def held() -> None:
            await registered.wait()
            await register()

        monkeypatch.setattr(worker, "_register", held)
        first = worker.committer.worker
        worker.committer.lose_lease(LeaseLost("declared dead by a test"))
        assert "not registered" in (await ask(port, "/ready")).json["why"]
        registered.set()
        await until(port, "/ready", 200)
        assert worker.committer.worker not in (None, first)


async def test_a_store_that_does_not_answer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shop.answering() as port, shop.app.worker():
        store = shop.worker.session.store

        async def away() -> Any:
            raise StoreUnavailable("the disk is gone")

        with monkeypatch.context() as patched:
            patched.setattr(store, "workers", away)
            assert "the disk is gone" in (await ask(port, "/ready")).json["why"]
            samples = (await ask(port, "/metrics")).samples
            assert samples["motet_store_answers", ""] == 0
            assert ("motet_runs", "waiting") not in samples, "old numbers look like good ones"
        await until(port, "/ready", 200)


async def test_a_loop_that_stood_still_or_a_part_that_failed_is_no_good_health(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop.answering() as port, shop.app.worker():
        with monkeypatch.context() as patched:
            patched.setattr(probes, "STILL_SECONDS", 0.3)
            patched.setattr(probes, "TICK_SECONDS", 0.05)
            asking = asyncio.create_task(until(port, "/health", 503))
            SYSTEM.pause(1.0)  # what a step that blocks the loop does
            assert "the event loop stood still" in (await asking).json["why"]
        await until(port, "/health", 200)

        async def sweep() -> None:
            raise RuntimeError("a mistake of ours")

        failed = asyncio.create_task(sweep())
        shop.worker._tasks.append(failed)
        answer = await until(port, "/health", 503)
        assert "a part of the worker has ended" in answer.json["why"]


class SetClock:
    """Time that the test sets."""

    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> int:
        raise AssertionError("only the monotonic clock tells how late a loop is")

    def monotonic(self) -> float:
        return self.at


def test_ticks_remember_the_last_gap() -> None:
    async def stand_still() -> list[float]:
        clock = SetClock()
        ticks = Ticks(clock)
        ticks.start()
        clock.at += 12
        seen = [ticks.still_seconds]
        ticks._tick()
        seen.append(ticks.still_seconds)
        clock.at += 1
        ticks._tick()
        seen.append(ticks.still_seconds)
        ticks.stop()
        return seen

    assert asyncio.run(stand_still()) == [12, 12, 1]


async def test_the_metrics_are_what_happened(shop: Shop) -> None:
    async with shop.answering() as port, shop.app.worker():
        for number in range(3):
            with pytest.raises(ValueError, match="as declared"):
                await (await shop.app.start(shop.fail, id=f"fail-{number}")).result()
        await shop.app.start(shop.walk, id="a")
        await shop.app.start(shop.wait, id="b")
        await shop.begun.wait()
        answer = await ask(port, "/metrics")
        assert answer.type.startswith("text/plain; version=0.0.4")
        samples = answer.samples
        assert samples["motet_store_answers", ""] == 1
        assert samples["motet_runs_ended_total", "failed"] == 3
        assert ("motet_runs", "failed") not in samples, "runs that have ended are not counted in the store"
        assert samples["motet_runs", "running"] + samples["motet_runs", "waiting"] == 2
        assert samples["motet_worker_runs", ""] == 2
        assert samples["motet_incidents", ""] == samples["motet_runs_due", ""] == 0
        assert 0 <= samples["motet_worker_liveness_age_seconds", ""] < PATIENCE_SECONDS
        commits = samples["motet_commit_seconds_count", ""]
        assert commits >= 1
        assert samples["motet_commit_rows_count", ""] == samples["motet_commit_units_count", ""] == commits
        assert samples["motet_commit_rows_sum", ""] >= 3 * 2
        shop.go.set()
        await shop.app.result("a")
        samples = (await ask(port, "/metrics")).samples
        assert samples["motet_runs_ended_total", "completed"] == 1


async def test_what_is_due_and_driven_by_nobody(shop: Shop) -> None:
    async with shop.app.connect():
        await shop.app.start(shop.wait, id="a")
    shop.app.registry.workflows.pop("shop/wait")
    async with shop.answering() as port, shop.app.worker():
        samples = (await ask(port, "/metrics")).samples
        assert (samples["motet_runs", "pending"], samples["motet_runs_due", ""]) == (1, 1)
        assert 0 < samples["motet_oldest_due_seconds", ""] < PATIENCE_SECONDS


async def test_how_reactions_and_expectations_stand(shop: Shop) -> None:
    @shop.app.on("poison", retry=Retry(attempts=1))
    async def take(event: Event) -> None:
        raise ValueError("cannot read it")

    shop.app.expect("answer", after="poison", within=3600, name="answer")
    async with shop.answering() as port, shop.app.worker():
        store = shop.app.client.store
        await store.subscribe([Subscription("shop/idle", "reaction", '{"events":["other"]}')], SYSTEM.now())
        await shop.app.publish("poison", key="k")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await shop.app.dead_letters() or not await store.not_come():
                await store.hint()
            while (samples := (await ask(port, "/metrics")).samples)["motet_dead_letters", "shop/take"] == 0:
                pass
        assert samples["motet_dead_letters", "shop/take"] == 1
        assert samples["motet_dead_letters", "shop/idle"] == samples["motet_deliveries_left_behind", "shop/take"] == 0
        assert samples["motet_reaction_behind", "shop/idle"] == 2, "the event, and that it is a dead letter"
        assert 0 < samples["motet_reaction_lag_seconds", "shop/idle"] < PATIENCE_SECONDS
        assert samples["motet_expectations", "shop/answeropen"] == 1
        assert samples["motet_expectations", "shop/answermissed"] == 0
        assert ("motet_reaction_behind", "shop/answer") not in samples


async def test_the_store_is_asked_at_most_once_a_second(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shop.answering() as port, shop.app.worker():
        store, asked = shop.worker.session.store, 0
        count = store.open_runs

        async def counting(now: int) -> Any:
            nonlocal asked
            asked += 1
            return await count(now)

        monkeypatch.setattr(store, "open_runs", counting)
        began = SYSTEM.monotonic()
        await asyncio.gather(*(ask(port, "/metrics") for _ in range(20)))
        assert 1 <= asked <= 1 + int(SYSTEM.monotonic() - began)


async def test_without_the_library_the_rest_works(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "find_spec", lambda name: None)
    shop.probes = Probes(shop.app)
    async with shop.answering() as port, shop.app.worker():
        answer = await ask(port, "/metrics")
        assert (answer.code, "pip install 'motet[metrics]'" in answer.text) == (501, True)
        assert (await ask(port, "/ready")).code == (await ask(port, "/health")).code == 200


async def test_a_port_that_is_taken_is_said(shop: Shop) -> None:
    async with shop.answering() as port:
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with serving(shop.probes.routes(), "127.0.0.1", port):
                raise AssertionError("two servers on one port")


async def test_every_metric_is_in_the_docs_and_the_other_way_round(shop: Shop) -> None:
    async with shop.answering() as port, shop.app.worker():
        await (await shop.app.start(shop.wait, id="a")).cancel()
        text = (await ask(port, "/metrics")).text
    families = {family.name.removesuffix("_created") for family in text_string_to_metric_families(text)}
    told = set(re.findall(r"^\| `(motet_\w+?)(?:_total)?[`{]", DOCS.read_text(), re.MULTILINE))
    assert told == {name for name in families if name.startswith("motet_")}
