"""The interpreter's switch interval while a worker runs."""

import sys
from collections.abc import Iterator

import pytest

from motet.runtime.switching import INTERVAL, Switching


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def test_the_default_is_changed_and_put_back() -> None:
    sys.setswitchinterval(0.005)
    switching = Switching()
    switching.start()
    assert sys.getswitchinterval() == INTERVAL
    switching.stop()
    assert sys.getswitchinterval() == 0.005


def test_what_a_program_has_set_is_kept() -> None:
    sys.setswitchinterval(0.002)
    switching = Switching()
    switching.start()
    switching.stop()
    assert sys.getswitchinterval() == 0.002
