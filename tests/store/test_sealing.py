"""Payloads under a key: bound to their records, the same twice, and nothing goes past the one who seals."""

from __future__ import annotations

import base64
import os
import typing
from pathlib import Path

import pytest

from motet import Keyring
from motet.errors import ConfigError, StoreRefused
from motet.model.event import EventRow
from motet.model.history import Recorded
from motet.model.run import Run
from motet.store.mutations import KIND_NAMES, KINDS
from motet.store.open import store_at
from motet.store.payloads import Payloads, Sealing
from motet.store.places import RULES, WITHOUT, open_up, seal
from motet.store.protocol import Store
from motet.store.retention import Retaining
from motet.store.sealed import PASSED_ON, SealedStore, sealed
from motet.store.sealing import Sealer, is_sealed, key_of
from motet.testing.conformance import setting
from motet.testing.conformance.delivering import Deliveries, DeliveryTransactions
from motet.testing.conformance.events import Events
from motet.testing.conformance.histories import Histories
from motet.testing.conformance.inboxes import Inboxes
from motet.testing.conformance.receipts import Receipts
from motet.testing.conformance.records import a_delivery, a_fact, a_message, a_run, an_event
from motet.testing.conformance.starts import Starts
from motet.testing.conformance.transacting import StepTransactions
from motet.testing.conformance.waiting import Waiting
from motet.testing.conformance.writing import Writes

ONE, TWO = os.urandom(32), os.urandom(32)


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(Keyring({"one": ONE, "two": TWO}, current="two"))


class TestSealedSqlite(
    Writes, Starts, Histories, Inboxes, Events, Deliveries, DeliveryTransactions, StepTransactions, Receipts, Waiting
):  # fmt: skip
    """What goes through it comes back, and means the same."""

    @pytest.fixture
    def address(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        keys = Keyring({"one": ONE}, current="one")
        monkeypatch.setattr(setting, "store_at", lambda at, clock: sealed(store_at(at, clock), keys, clock))
        return f"sqlite:///{tmp_path}/motet.db"


def test_every_verb_is_sealed_or_passed_on_knowingly() -> None:
    verbs = {
        name
        for protocol in (Store, Retaining, Payloads, Sealing)
        for kind in protocol.__mro__
        if getattr(kind, "_is_protocol", False)
        for name, value in vars(kind).items()
        if not name.startswith("_") and callable(value)
    }
    own = {name for name, value in vars(SealedStore).items() if callable(value) and not name.startswith("_")}
    assert own == verbs, "a verb is new: seal what goes through it, or name it in PASSED_ON"
    assert own > PASSED_ON


def test_every_kind_of_mutation_is_known() -> None:
    """Which fields may hold what users have put in is told from their types: texts that are not keys of anything."""
    known = {
        "input", "first_input", "result", "error", "current", "note", "attributes", "payload", "data"
    }  # fmt: skip
    for kind in KINDS:
        assert kind is Recorded or (kind in RULES) != (kind in WITHOUT), KIND_NAMES[kind]
        fields: tuple[str, ...] = vars(kind)["_fields"]
        if kind in RULES:
            assert {name for name, _ in RULES[kind].fields} == known & {*fields}, KIND_NAMES[kind]
        if kind in WITHOUT:
            assert not known & {*fields}, KIND_NAMES[kind]
    texts = {name for kind in KINDS for name, hint in typing.get_type_hints(kind).items() if "str" in str(hint)}
    assert texts - known == {
        "id", "uid", "workflow", "state", "conversation", "cause", "parent", "parked", "python", "fingerprint", "queue",
        "consumed", "traceparent", "op", "operation_kind", "kind", "target", "source", "type", "subject",
        "correlationid", "causationid", "recipient", "name", "expectation", "key", "event", "came", "reaction", "site",
        "origin",
    } & texts, "a field is new: does it hold what users have put in?"  # fmt: skip


RECORDS = [
    a_run(result="1", error="2", current="3", note="n", first_input="4"), a_fact(a_run(), 1),
    a_fact(a_run(), 1, payload=None), a_fact(a_run(), 1, digest=None), an_event(), a_message(a_run()),
    a_delivery(data="5"),
]  # fmt: skip


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_what_is_sealed_opens_and_shows_nothing(sealer: Sealer, record: Run | Recorded | EventRow) -> None:
    hidden = seal(sealer, record)
    assert hidden == seal(sealer, record), "the same record is the same text, or a repeated fact would be another"
    names = ("payload",) if isinstance(record, Recorded) else [name for name, _ in RULES[type(record)].fields]
    assert all(is_sealed(getattr(hidden, name)) for name in names)
    assert getattr(hidden, "digest", None) is None
    assert open_up(sealer, hidden) == record
    assert open_up(sealer, record) == record, "what was written before there were keys"


def test_no_record_opens_what_is_anothers(sealer: Sealer) -> None:
    one, two = a_run(), a_run()
    hidden, other = seal(sealer, one), seal(sealer, two)
    assert hidden.input != other.input
    swapped = open_up(sealer, hidden._replace(input=other.input, result=hidden.input))
    assert swapped.input.startswith(
        "\ufffdan encrypted payload cannot be opened: it was changed, or belongs to another"
    )
    assert swapped.result.startswith("\ufffd"), "nor another column"
    fact = seal(sealer, a_fact(one, 1))
    assert open_up(sealer, fact._replace(position=2)).payload.startswith("\ufffd")
    first, second = seal(sealer, an_event()), seal(sealer, an_event())
    assert open_up(sealer, EventRow(*first)._replace(data=second.data)).data.startswith("\ufffd")


@pytest.mark.parametrize("at", [12, 30, -3])
def test_a_changed_bit_is_noticed(sealer: Sealer, at: int) -> None:
    text = sealer.seal('"secret"', "place")
    assert text is not None and key_of(text) == "two"
    changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
    try:
        opened = sealer.open(changed, "place")
    except StoreRefused:  # it is in the key's name
        return
    assert opened is not None and (opened.startswith("\ufffd") or opened == changed)


@pytest.mark.parametrize("text", ['"sealed:1:two:"', '"sealed:1:two:AAAA"', '"sealed:1:two:***"', '"sealed:1:two'])
def test_what_is_none_at_all(sealer: Sealer, text: str) -> None:
    opened = sealer.open(text, "place")
    assert opened is not None and opened.startswith("\ufffd")


def test_rotation(sealer: Sealer) -> None:
    old = Sealer(Keyring({"one": ONE}, current="one"))
    text = old.seal('"secret"', "place")
    assert sealer.open(text, "place") == '"secret"'
    with pytest.raises(StoreRefused, match="a payload that is encrypted with key 'two', and the keys here are one"):
        old.open(sealer.seal('"secret"', "place"), "place")
    reading = Sealer(Keyring({"one": ONE}, current=None))
    assert (reading.open(text, "place"), reading.seal("1", "place")) == ('"secret"', "1")


def test_keys_as_text() -> None:
    one, two = base64.b64encode(ONE).decode(), base64.urlsafe_b64encode(TWO).decode().rstrip("=")
    keys = Keyring.from_text(f"2026-11={one}, 2026-05={two}")
    assert (keys.current, keys.names) == ("2026-11", ["2026-11", "2026-05"])
    assert keys.proof("2026-05") == Keyring({"2026-05": TWO}, current=None).proof("2026-05")
    assert Keyring.from_text(f"none 2026-11={one}").current is None
    assert one not in repr(keys) and "2026-11" in repr(keys)


@pytest.mark.parametrize(
    ("text", "said"),
    [("2026", "an entry is no NAME=KEY"), ("a=short", "key 'a' is not 32 bytes in base64; make one with"),
     (f"a={'A' * 43}=,a={'A' * 43}=", "key a is there twice"), ("b c=2", "no NAME=KEY"),
     ("/=x", "a key is called '/'")],
)  # fmt: skip
def test_keys_that_are_none(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Keyring.from_text(text)


def test_a_current_key_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="the current key is to be 'b'"):
        Keyring({"a": ONE}, current="b")
