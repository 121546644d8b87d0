"""The ledger as its clients meet it: the real process, each fault, a kill, replies withheld."""

import asyncio
import json
import resource
import signal
import sys
from pathlib import Path

import pytest

from examples.course_purchase.connections import Connections, ServiceUnreachable
from examples.course_purchase.entries import Acknowledged, Attempt, Mark
from examples.course_purchase.ledger_file import read_ledger
from examples.course_purchase.protocol import encode
from examples.course_purchase.purchases import Enrollment, Payment, Purchase, Trouble
from examples.course_purchase.services import (
    Bank,
    Campus,
    CardDeclined,
    CourseFull,
    EnrollmentDown,
    KeyReused,
)
from tests.examples.ledger_process import StartLedger, Try


def purchase(id: str = "p1", trouble: Trouble | None = None) -> Purchase:
    return Purchase(id, "ada", "counterpoint", "card_1", 24_900, trouble)


def attempts(file: Path) -> list[Attempt]:
    return [entry for entry in read_ledger(file) if isinstance(entry, Attempt)]


def effects(file: Path) -> list[str]:
    return [effect.id for attempt in attempts(file) for effect in attempt.effects]


async def control(connections: Connections, **message: object) -> dict[str, int]:
    reply: dict[str, int] = json.loads(await connections.ask(encode(message)))
    return reply


async def test_a_purchase_and_its_undoing_are_written_with_all_that_was_said(
    start_ledger: StartLedger,
) -> None:
    ledger = start_ledger()
    async with Connections(ledger.address) as connections:
        bank, campus = Bank(connections), Campus(connections)
        payment = await bank.charge(purchase(), Try("k1", number=2, token=7))
        enrollment = await campus.enroll(purchase(), Try("k2"))
        await campus.remove(purchase(), enrollment, Try("k3"))
        await bank.refund(purchase(), payment, Try("k4"))
    assert (payment, enrollment) == (Payment("pay_1", 24_900), Enrollment("seat_2", "counterpoint"))
    written = attempts(ledger.file)
    assert [(a.number, a.operation, a.key, a.attempt, a.token, a.purchase) for a in written] == [
        (1, "charge", "k1", 2, 7, "p1"),
        (2, "enroll", "k2", 1, 1, "p1"),
        (3, "remove", "k3", 1, 1, "p1"),
        (4, "refund", "k4", 1, 1, "p1"),
    ]
    assert [(e.id, e.undoes, e.cents) for a in written for e in a.effects] == [
        ("pay_1", None, 24_900),
        ("seat_2", None, None),
        ("removal_3", "seat_2", None),
        ("refund_4", "pay_1", 24_900),
    ]


async def test_refusals_are_answers_of_their_own_class(start_ledger: StartLedger) -> None:
    async with Connections(start_ledger().address) as connections:
        with pytest.raises(CardDeclined, match="declined card_1 for counterpoint"):
            await Bank(connections).charge(purchase(trouble="card_declined"), Try("k1"))
        with pytest.raises(CourseFull, match="no seat left in counterpoint"):
            await Campus(connections).enroll(purchase(trouble="course_full"), Try("k2"))
        with pytest.raises(EnrollmentDown, match="503"):
            await Campus(connections).enroll(purchase(trouble="enrollment_outage"), Try("k3"))


async def test_a_lost_reply_leaves_the_work_done_and_the_next_attempt_finds_it(
    start_ledger: StartLedger,
) -> None:
    ledger = start_ledger()
    async with Connections(ledger.address) as connections:
        bank, unlucky = Bank(connections), purchase(trouble="charge_reply_lost")
        for number in (1, 2):
            with pytest.raises(ServiceUnreachable, match="closed the connection without a reply"):
                await bank.charge(unlucky, Try("k1", number))
        assert (await bank.charge(unlucky, Try("k1", 3))).id == "pay_1"
    assert [(a.reply, a.duplicate_of) for a in attempts(ledger.file)] == [
        ("lost", None),
        ("lost", "pay_1"),
        ("sent", "pay_1"),
    ]
    assert effects(ledger.file) == ["pay_1"]


async def test_what_nobody_knows_is_looked_up_and_undone(start_ledger: StartLedger) -> None:
    ledger = start_ledger()
    async with Connections(ledger.address) as connections:
        bank, campus = Bank(connections), Campus(connections)
        unknown = purchase("p1", "enroll_reply_always_lost")
        for number in range(1, 5):
            with pytest.raises(ServiceUnreachable):
                await campus.enroll(unknown, Try("k1", number))
        await campus.remove(unknown, None, Try("k2"))
        await bank.refund(unknown, None, Try("k3"))
    assert effects(ledger.file) == ["seat_1", "removal_5"]
    assert attempts(ledger.file)[-1].outcome == "nothing_to_undo"


async def test_a_hung_request_ends_with_its_client_and_has_done_nothing(start_ledger: StartLedger) -> None:
    ledger = start_ledger()
    async with Connections(ledger.address) as connections:
        campus, stuck = Campus(connections), purchase(trouble="enrollment_hangs")
        hanging = asyncio.create_task(campus.enroll(stuck, Try("k1")))
        while (await control(connections, operation="stats"))["attempts"] == 0:
            pass
        assert not hanging.done()
        hanging.cancel()
        assert (await campus.enroll(stuck, Try("k1", 2))).id == "seat_2"
    assert [(a.outcome, a.reply) for a in attempts(ledger.file)] == [("hung", "never"), ("done", "sent")]


async def test_ignored_keys_charge_twice(start_ledger: StartLedger) -> None:
    ledger = start_ledger("--ignore-keys")
    async with Connections(ledger.address) as connections:
        for number in (1, 2):
            await Bank(connections).charge(purchase(), Try("k1", number))
    assert effects(ledger.file) == ["pay_1", "pay_2"]


async def test_one_key_for_two_things_is_refused(start_ledger: StartLedger) -> None:
    async with Connections(start_ledger().address) as connections:
        await Bank(connections).charge(purchase(), Try("k1"))
        with pytest.raises(KeyReused, match="'k1' was used for something else before this enroll"):
            await Campus(connections).enroll(purchase(), Try("k1"))


async def test_what_was_answered_survives_kill_9_and_its_keys_stay_honoured(
    start_ledger: StartLedger,
) -> None:
    ledger = start_ledger()
    async with Connections(ledger.address) as connections:
        answered = [await Bank(connections).charge(purchase(f"p{n}"), Try(f"k{n}")) for n in range(20)]
        ledger.process.kill()
        ledger.process.wait()
        with pytest.raises(ServiceUnreachable):
            await Bank(connections).charge(purchase(), Try("k0"))
    with ledger.file.open("ab") as file:
        file.write(b'{"kind":"attempt","numb')
    async with Connections(start_ledger().address) as connections:
        again = [await Bank(connections).charge(purchase(f"p{n}"), Try(f"k{n}", 2)) for n in range(20)]
        assert again == answered
        assert (await Bank(connections).charge(purchase("p20"), Try("k20"))).id == "pay_41"
    assert len(effects(ledger.file)) == 21


async def test_requests_at_the_same_time_share_fsyncs(start_ledger: StartLedger) -> None:
    async with Connections(start_ledger().address) as connections:
        bank = Bank(connections)
        await asyncio.gather(*(bank.charge(purchase(f"p{n}"), Try(f"k{n}")) for n in range(300)))
        stats = await control(connections, operation="stats")
    assert stats["attempts"] == 300
    assert stats["fsyncs"] < 150


async def test_withheld_replies_come_when_they_are_released(start_ledger: StartLedger) -> None:
    ledger = start_ledger()
    async with Connections(ledger.address) as connections:
        bank = Bank(connections)
        enough = asyncio.create_task(control(connections, operation="hold", after=2, purchases=3, effects=2))
        await control(connections, operation="stats")
        await bank.charge(purchase("a"), Try("ka"))
        await bank.charge(purchase("b"), Try("kb"))
        waiting = [
            asyncio.create_task(bank.charge(purchase("c", "card_declined"), Try("kc"))),
            asyncio.create_task(bank.charge(purchase("d"), Try("kd"))),
            asyncio.create_task(bank.charge(purchase("e"), Try("ke"))),
        ]
        assert (await enough)["withheld_purchases"] == 3
        stats = await control(connections, operation="killed")
        assert stats["withheld_effects"] == 2
        assert not any(task.done() for task in waiting)
        await control(connections, operation="release")
        declined, *charged = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(declined, CardDeclined)
        assert all(isinstance(payment, Payment) for payment in charged)
        await bank.charge(purchase("f"), Try("kf"))
    entries = read_ledger(ledger.file)
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    assert [entry.event for entry in entries if isinstance(entry, Mark)] == [
        "withholding",
        "worker_killed",
        "released",
    ]
    assert [attempt.reply for attempt in attempts(ledger.file)] == ["sent"] * 2 + ["withheld"] * 3 + ["sent"]


async def test_acknowledgements_stand_in_their_place_among_the_attempts(start_ledger: StartLedger) -> None:
    ledger = start_ledger()
    async with Connections(ledger.address) as connections:
        bank = Bank(connections)
        await bank.charge(purchase(), Try("k1"))
        steps = [{"key": "k1", "step": "pay", "attempt": 1}, {"key": "k0", "step": "pay", "attempt": 2}]
        await control(connections, operation="acknowledged", steps=steps)
        await bank.charge(purchase(), Try("k1", 2))
    assert [type(entry) for entry in read_ledger(ledger.file)] == [
        Attempt,
        Acknowledged,
        Acknowledged,
        Attempt,
    ]


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"operation":"charge"}\n', b'{"operation":"dance"}\n'])
async def test_a_message_that_makes_no_sense_is_refused_and_not_written(start_ledger: StartLedger, line: bytes) -> None:
    ledger = start_ledger()
    async with Connections(ledger.address) as connections:
        assert "error" in json.loads(await connections.ask(line))
        await Bank(connections).charge(purchase(), Try("k1"))
    assert len(read_ledger(ledger.file)) == 1


async def test_a_missing_address_and_a_missing_ledger_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COURSE_LEDGER", raising=False)
    with pytest.raises(ServiceUnreachable, match="COURSE_LEDGER must hold the ledger's address as host:port, not ''"):
        await Connections().ask(b"{}\n")
    with pytest.raises(ServiceUnreachable, match=r"nothing answers at 127\.0\.0\.1:1"):
        await Connections("127.0.0.1:1").ask(b"{}\n")


def test_the_ledger_ends_on_sigterm_and_with_its_parent(start_ledger: StartLedger) -> None:
    told = start_ledger()
    told.process.send_signal(signal.SIGTERM)
    assert told.process.wait() == 0
    orphan = start_ledger()
    assert orphan.process.stdin is not None
    orphan.process.stdin.close()
    assert orphan.process.wait() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process can be set on Linux only")
def test_a_ledger_that_cannot_write_ends_and_acknowledges_nothing(start_ledger: StartLedger) -> None:
    async def charge(address: str) -> None:
        async with Connections(address) as connections:
            await Bank(connections).charge(purchase(), Try("k1"))

    ledger = start_ledger()
    # From now on the kernel refuses this process every write to a file, as a full disk does.
    resource.prlimit(ledger.process.pid, resource.RLIMIT_FSIZE, (0, 0))
    with pytest.raises(ServiceUnreachable):
        asyncio.run(charge(ledger.address))
    assert ledger.process.wait() == 1
    assert read_ledger(ledger.file) == []
