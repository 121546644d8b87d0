"""Timers follow the time of day; timeouts of attempts follow the loop's."""

import asyncio
import gc
import weakref

from motet.runtime.overdue import Overdue
from motet.runtime.timers import SWEEP_AT, Timer, Timers


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = 1_000_000

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return self.at / 1_000_000


async def test_in_the_order_of_their_due_times_and_of_their_making():
    clock = SetClock()
    timers = Timers(clock)
    rung: list[str] = []
    last = asyncio.Event()
    timers.at(3_000_000, last.set)
    timers.at(2_000_000, lambda: rung.append("second"))
    timers.at(1_500_000, lambda: rung.append("first"))
    timers.at(2_000_000, lambda: rung.append("third"))
    clock.at = 4_000_000
    timers.at(1, lambda: rung.insert(0, "overdue"))
    await asyncio.wait_for(last.wait(), 10)
    assert rung == ["overdue", "first", "second", "third"]
    timers.close()


async def test_a_cancelled_timer_is_silent():
    clock = SetClock()
    timers = Timers(clock)
    rung: list[str] = []
    last = asyncio.Event()
    timers.at(1_500_000, lambda: rung.append("cancelled")).cancel()
    timers.at(1_600_000, last.set)
    clock.at = 2_000_000
    timers.at(1, lambda: None)
    await asyncio.wait_for(last.wait(), 10)
    assert rung == []
    timers.close()


async def test_cancelled_timers_are_forgotten_even_behind_one_that_is_due_before_them():
    clock = SetClock()
    timers = Timers(clock)
    first = timers.at(10_000_000, lambda: None)
    gone: weakref.WeakSet[Timer] = weakref.WeakSet()
    for number in range(10 * SWEEP_AT):
        timer = timers.at(20_000_000 + number, lambda: None)
        gone.add(timer)
        timer.cancel()
    del timer
    gc.collect()
    assert len(gone) <= SWEEP_AT
    assert first.action is not None
    timers.close()


async def test_the_living_keep_their_order_when_the_cancelled_are_forgotten():
    clock = SetClock()
    timers = Timers(clock)
    rung: list[int] = []
    last = asyncio.Event()
    for number in range(3 * SWEEP_AT, 0, -1):
        timer = timers.at(clock.at + number, lambda number=number: rung.append(number))
        if number % 3:
            timer.cancel()
    timers.at(clock.at + 4 * SWEEP_AT, last.set)
    clock.at += 10 * SWEEP_AT
    timers.at(1, lambda: None)
    await asyncio.wait_for(last.wait(), 10)
    assert rung == list(range(3, 3 * SWEEP_AT + 1, 3))
    timers.close()


async def test_nothing_rings_before_its_time_when_the_clock_is_set_back():
    clock = SetClock()
    timers = Timers(clock)
    early = asyncio.Event()
    timers.at(clock.at + 20_000, early.set)
    clock.at -= 3_600_000_000
    looked = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, looked.set)
    await looked.wait()
    assert not early.is_set()
    clock.at += 3_600_000_000 + 20_000
    await asyncio.wait_for(early.wait(), 10)
    timers.close()


async def test_who_sets_the_clock_may_have_them_look():
    clock = SetClock()
    timers = Timers(clock)
    rung: list[str] = []
    assert timers.next_due() is None
    timers.at(8_000_000, lambda: rung.append("second"))
    timers.at(9_000_000, lambda: rung.append("third"))
    timers.at(5_000_000, lambda: rung.append("never")).cancel()
    timers.at(7_000_000, lambda: rung.append("first"))
    timers.look()
    assert rung == []
    assert timers.next_due() == 7_000_000
    clock.at = 8_000_000
    timers.look()
    assert rung == ["first", "second"]
    assert timers.next_due() == 9_000_000
    timers.close()
    assert timers.next_due() is None


class Attempt:
    """Something that can run out of time."""

    def __init__(self, late: list["Attempt"], done: asyncio.Event) -> None:
        self.late = late
        self.done = done

    def time_out(self) -> None:
        self.late.append(self)
        self.done.set()


async def test_only_what_is_still_there_times_out():
    overdue = Overdue(asyncio.get_running_loop())
    late: list[Attempt] = []
    done = asyncio.Event()
    slow, quick, patient = (Attempt(late, done) for _ in range(3))
    overdue.add(quick, 0.02)
    overdue.add(slow, 0.02)
    overdue.add(patient, 60.0)
    overdue.discard(quick, 0.02)
    await asyncio.wait_for(done.wait(), 10)
    assert late == [slow]
    overdue.close()


async def test_a_line_that_ran_empty_begins_again():
    overdue = Overdue(asyncio.get_running_loop())
    late: list[Attempt] = []
    for _ in range(2):
        done = asyncio.Event()
        overdue.add(Attempt(late, done), 0.01)
        await asyncio.wait_for(done.wait(), 10)
    assert len(late) == 2
    overdue.close()
