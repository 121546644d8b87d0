"""Daemon threads for plain steps: bounded, reused, and never held up by one that hangs."""

import threading

from motet.runtime.threads import DaemonThreads


def test_work_runs_in_a_daemon_thread():
    ran = threading.Event()
    seen: list[bool] = []

    def work() -> None:
        seen.append(threading.current_thread().daemon)
        ran.set()

    DaemonThreads(2).submit(work)
    assert ran.wait(10)
    assert seen == [True]


def test_no_more_than_size_at_a_time():
    threads = DaemonThreads(2)
    release = threading.Event()
    began = threading.Semaphore(0)
    lock = threading.Lock()
    now = most = 0

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        began.release()
        release.wait(10)
        with lock:
            now -= 1

    for _ in range(6):
        threads.submit(work)
    assert began.acquire(timeout=10) and began.acquire(timeout=10)
    assert not began.acquire(timeout=0.05)
    release.set()
    for _ in range(4):
        assert began.acquire(timeout=10)
    assert most == 2


def test_an_abandoned_hang_gives_its_place_away():
    threads = DaemonThreads(1)
    release, began, second = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        release.wait(30)

    hung = threads.submit(hang)
    assert began.wait(10)
    threads.submit(second.set)
    assert not second.wait(0.05)
    threads.abandon(hung)
    assert second.wait(10)
    release.set()


def test_abandoned_before_it_began_it_never_runs():
    threads = DaemonThreads(1)
    release, began, done = threading.Event(), threading.Event(), threading.Event()
    ran: list[str] = []

    def hold() -> None:
        began.set()
        release.wait(10)

    threads.submit(hold)
    assert began.wait(10)
    waiting = threads.submit(lambda: ran.append("abandoned"))
    threads.abandon(waiting)
    threads.submit(done.set)
    release.set()
    assert done.wait(10)
    assert ran == []
