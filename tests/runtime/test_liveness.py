"""Who is dead: known from the operating system, or seen from a counter; never from a clock."""

import errno
import os
import signal
import socket
import subprocess
import sys

import pytest

from motet.runtime import liveness
from motet.runtime.liveness import Watch, describe_self, is_dead
from motet.store.protocol import WorkerRow


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> int:
        return 0

    def monotonic(self) -> float:
        return self.seconds


def row(pid: int, started: int, *, host: str | None = None, name: str | None = None, batch: int = 1) -> WorkerRow:
    me = describe_self("code")
    return WorkerRow(
        1, "identity", name or f"{socket.gethostname()}:{pid}", me.host if host is None else host, pid, started,
        "motet", "code", batch, False, 0, 0,
    )  # fmt: skip


class Mine:
    """The row of who watches: its counter has moved at each look."""

    def __init__(self) -> None:
        self.batch = 0

    def __call__(self, *, moved: bool = True) -> WorkerRow:
        self.batch += moved
        return row(os.getpid(), 1, batch=self.batch)._replace(id=2)


def process() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def test_each_start_is_a_fresh_identity():
    assert describe_self("code").identity != describe_self("code").identity


def test_a_living_process_is_not_dead_and_a_killed_one_is():
    with process() as child:
        started = liveness._started(child.pid)
        assert not is_dead(row(child.pid, started))
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_dead(row(child.pid, started)), "a process of which only its remains are left is dead"
    assert is_dead(row(child.pid, started))


def test_another_process_with_the_same_pid_is_not_the_worker():
    started = liveness._started(os.getpid())
    assert not is_dead(row(os.getpid(), started))
    assert is_dead(row(os.getpid(), started - 1))


@pytest.mark.parametrize("reason", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EACCES, errno.EINTR])
def test_a_system_that_does_not_answer_has_not_said_that_a_process_is_gone(
    monkeypatch: pytest.MonkeyPatch, reason: int
):
    me = row(os.getpid(), liveness._started(os.getpid()))
    here = me.host

    def fails(*_: object, **__: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr("builtins.open", fails)
    unknown = liveness._started(os.getpid())
    assert unknown == liveness.UNKNOWN
    assert not is_dead(me, here)
    monkeypatch.undo()
    assert not is_dead(me._replace(pid_started=unknown)), "it could not tell when it began: nothing follows from that"


@pytest.mark.parametrize("reason", [errno.ENOENT, errno.ESRCH])
def test_no_such_process_is_an_answer(monkeypatch: pytest.MonkeyPatch, reason: int):
    """ESRCH is what a process gives that has ended between opening and reading."""
    me = row(os.getpid(), liveness._started(os.getpid()))

    def fails(*_: object, **__: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr("builtins.open", fails)
    assert is_dead(me, me.host)
    assert is_dead(me._replace(pid_started=liveness.UNKNOWN), me.host)


def test_a_worker_of_an_earlier_boot_of_this_machine_is_dead():
    assert is_dead(row(1, 1, host="another-boot/4026531836"))


def test_of_another_machine_or_pid_namespace_nothing_is_known():
    boot = describe_self("code").host.partition("/")[0]
    assert not is_dead(row(999_999, 1, host="another-boot/1", name="elsewhere:1"))
    assert not is_dead(row(999_999, 1, host=f"{boot}/1"))
    assert not is_dead(row(999_999, 1, host=""))


def test_only_a_counter_that_stood_still_for_a_whole_lease_watched_by_us():
    clock = SetClock()
    watch, mine = Watch(clock, lease_seconds=30), Mine()
    for _ in range(30):
        assert watch.still([row(1, 1, batch=7)], mine()) == []
        clock.seconds += 1
    assert [worker.batch for worker in watch.still([row(1, 1, batch=7)], mine())] == [7]
    assert watch.still([row(1, 1, batch=8)], mine()) == [], "it has moved: it is alive"


def test_who_cannot_write_has_not_watched():
    """A stranger's lock: all read, nobody writes, and every counter stands still."""
    clock = SetClock()
    watch, mine = Watch(clock, lease_seconds=30), Mine()
    watch.still([row(1, 1)], mine())
    for _ in range(60):
        clock.seconds += 1
        assert watch.still([row(1, 1)], mine(moved=False)) == []
    for _ in range(29):
        clock.seconds += 1
        assert watch.still([row(1, 1)], mine()) == [], "all may write again: whoever is alive has a lease to do so"
    clock.seconds += 2
    assert [worker.pid for worker in watch.still([row(1, 1)], mine())] == [1]


def test_who_has_no_row_has_not_watched():
    clock = SetClock()
    watch = Watch(clock, lease_seconds=30)
    for _ in range(60):
        clock.seconds += 1
        assert watch.still([row(1, 1)], None) == []


def test_who_has_not_looked_for_a_while_begins_anew():
    clock = SetClock()
    watch, mine = Watch(clock, lease_seconds=30), Mine()
    watch.still([row(1, 1)], mine())
    clock.seconds += 31
    assert watch.still([row(1, 1)], mine()) == [], "all of us were stopped, perhaps: nobody has watched"
    clock.seconds += 16
    assert watch.still([row(1, 1)], mine()) == []


def test_after_the_store_was_away_the_watch_begins_anew():
    clock = SetClock()
    watch, mine = Watch(clock, lease_seconds=30), Mine()
    watch.still([row(1, 1)], mine())
    clock.seconds += 3600
    watch.forget()
    assert watch.still([row(1, 1)], mine()) == []


def test_of_a_shared_store_nobody_elsewhere_is_asked():
    here = row(1, 1, host="another-boot/4026531836")
    assert not is_dead(here, shared=True), "another machine or container may have the same name"
    gone = row(999_999, 1)
    assert is_dead(gone, shared=True)
    assert not is_dead(gone._replace(name="elsewhere:1"), shared=True), "machines are copied while they run"
