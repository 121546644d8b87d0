"""The ledger's file: durable before acknowledged, in order, fsyncs shared, torn ends tolerated."""

import asyncio
import os
from pathlib import Path

import pytest

from examples.course_purchase.entries import (
    Acknowledged,
    Attempt,
    Effect,
    Entry,
    Mark,
    decode_entry,
    encode_entry,
)
from examples.course_purchase.fields import BadField
from examples.course_purchase.ledger_file import LedgerFile, read_ledger

ATTEMPT = Attempt(
    number=1,
    operation="refund",
    key="k1",
    attempt=2,
    token=3,
    purchase="p1",
    outcome="done",
    reply="withheld",
    effects=(Effect("refund_1", undoes="pay_1", cents=100), Effect("refund_1_2", undoes="pay_2")),
    duplicate_of="refund_0",
)


def mark(number: int) -> Mark:
    return Mark(number, "released")


@pytest.mark.parametrize("entry", [ATTEMPT, Acknowledged(2, "k1", "authorize_payment", 1), mark(3)])
def test_every_entry_is_read_back_as_it_was_written(entry: Entry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


async def test_entries_stand_in_the_file_in_the_order_in_which_they_were_handed_in(tmp_path: Path) -> None:
    file = LedgerFile(tmp_path / "ledger.jsonl")
    await asyncio.gather(*(file.append(mark(number)) for number in range(1, 201)))
    await file.close()
    assert [entry.number for entry in read_ledger(tmp_path / "ledger.jsonl")] == list(range(1, 201))


async def test_one_fsync_covers_many_entries_and_every_entry_is_covered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.jsonl"
    covered: list[int] = []
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        real_fsync(descriptor)
        covered.append(len(path.read_bytes().splitlines()))

    monkeypatch.setattr(os, "fsync", fsync)
    file = LedgerFile(path)

    async def append(number: int) -> None:
        await file.append(mark(number))
        assert covered and covered[-1] >= number, "acknowledged before the fsync that covers it"

    await asyncio.gather(*(append(number) for number in range(1, 101)))
    assert file.fsyncs == len(covered) <= 3
    await append(101)
    await file.close()
    assert len(covered) == file.fsyncs <= 4


async def test_a_torn_last_line_is_left_out_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    whole = encode_entry(mark(1)) + encode_entry(ATTEMPT)
    for torn in (encode_entry(mark(3))[:-1], b"{", b'{"kind":"ma', b"\x00\x00\x00"):
        path.write_bytes(whole + torn)
        assert len(read_ledger(path)) == 2
        file = LedgerFile(path)
        assert [entry.number for entry in file.found] == [1, 1]
        await file.append(mark(2))
        await file.close()
        assert path.read_bytes() == whole + encode_entry(mark(2))


def test_damage_in_the_middle_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(encode_entry(mark(1)) + b"{torn\n" + encode_entry(mark(2)))
    with pytest.raises(BadField, match="line 2 of the ledger is damaged: not JSON"):
        read_ledger(path)


async def test_a_failed_fsync_breaks_the_file_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    file = LedgerFile(tmp_path / "ledger.jsonl")
    monkeypatch.setattr(os, "fsync", no_fsync)
    with pytest.raises(OSError, match="No space left"):
        await file.append(mark(1))
    monkeypatch.undo()
    with pytest.raises(OSError, match="No space left"):
        await file.append(mark(2))
    assert isinstance(file.broken.exception(), OSError)
    await file.close()
