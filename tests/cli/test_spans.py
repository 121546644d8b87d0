"""Lengths and points of time, and values, in the words that people read."""

from typing import Any

import pytest

from motet.cli.layout import clean, shorten
from motet.cli.spans import ago, due, moment, span, whole
from motet.cli.values import argument, rendered
from tests.cli.statuses import NOW, at


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "<1 ms"), (0.0004, "<1 ms"), (0.0006, "1 ms"), (0.038, "38 ms"), (0.999, "999 ms"), (0.9999, "1.0 s"),
        (2.04, "2.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (41, "41 s"), (59.6, "1 min"), (125, "2 min 5 s"),
        (660, "11 min"), (3600, "1 h"), (5400, "1 h 30 min"), (86_400, "1 d"), (100_000, "1 d 3 h"),
        (40 * 86_400 + 7200, "40 d"),
    ],
)  # fmt: skip
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_whole_seconds_never_run_below_nothing() -> None:
    assert [whole(-3), whole(0.2), whole(61)] == ["0 s", "0 s", "1 min 1 s"]


def test_points_of_time() -> None:
    assert [ago(at(0.4), NOW), ago(at(2.9), NOW), ago(at(-5), NOW)] == ["just now", "2 s ago", "just now"]
    assert [due(at(1), NOW), due(at(-0.2), NOW), due(at(-6), NOW)] == ["now", "in 1 s", "in 6 s"]
    assert moment(at(-3599), NOW) == "in 59 min"
    assert moment(at(-7200), NOW) == "2026-09-21 16:13 UTC, in 2 h"


@pytest.mark.parametrize(
    ("value", "type_name", "text"),
    [
        ({"id": "pay_1", "cents": 42}, "Payment", "Payment(id='pay_1', cents=42)"),
        ({}, "Nothing", "Nothing()"),
        ({"a": [1, None]}, None, "{'a': [1, None]}"),
        ({"a": True}, "dict", "{'a': True}"),
        ([1, 2], "list", "[1, 2]"),
        ("two\nlines", "str", "'two\\nlines'"),
        (None, "Payment", ""),
        (7, "int", "7"),
    ],
)
def test_results_look_like_the_python_that_made_them(value: Any, type_name: str | None, text: str) -> None:
    assert rendered(value, type_name) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"id": "pay_1", "cents": 42}, "pay_1"),
        ({"cents": 42, "payment_id": "pay_1"}, "pay_1"),
        ({"seat": 7}, "7"),
        ({"cents": 42, "currency": "EUR"}, ""),
        ({"items": ["a"]}, ""),
        ("pay_1", "pay_1"),
        (True, ""),
        (None, ""),
        ("x" * 40, "x" * 21 + "..."),
    ],
)
def test_what_is_undone_is_named_by_its_id(value: Any, text: str) -> None:
    assert argument(value) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n  b\tc", "a b c"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202etxt.exe", "abc\\u202etxt.exe"),
        ("bell\x07", "bell\\x07"),
        ("naïve 合唱", "naïve 合唱"),
    ],
)
def test_nothing_that_is_recorded_can_control_a_terminal(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_shortening() -> None:
    assert [shorten("abcdef", 6), shorten("abcdefg", 6), shorten("合唱合唱", 6), shorten("abc", 2)] == [
        "abcdef",
        "abc...",
        "合...",
        "..",
    ]
