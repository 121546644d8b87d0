"""Daemon threads for steps that are plain functions.

Not the standard library's pool: its threads are joined at exit, so a step that hangs would keep the process alive,
and a hung thread would keep its place for ever. Here an abandoned thread loses its place and dies when it returns.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Work = Callable[[], None]


class DaemonThreads:
    """Runs at most `size` pieces of work at a time, each in a thread of its own kind; idle threads are reused."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ready: deque[Ticket] = deque()
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._idle = 0
        self._threads = 0
        self._closed = False

    def submit(self, work: Work) -> Ticket:
        """Run the work as soon as a place is free."""
        ticket = Ticket(work)
        with self._lock:
            self._ready.append(ticket)
            if self._idle:
                self._more.notify()
            elif self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._serve, name="motet-step", daemon=True).start()
        return ticket

    def abandon(self, ticket: Ticket) -> None:
        """Stop counting on this work: another thread takes its place."""
        with self._lock:
            if not ticket.running:
                if ticket in self._ready:
                    self._ready.remove(ticket)
                return
            if ticket.abandoned:
                return
            ticket.abandoned = True
            self._threads -= 1
            if self._ready and not self._idle and self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._serve, name="motet-step", daemon=True).start()

    def close(self) -> None:
        """Let idle threads end; those at work end with it, or with the process."""
        with self._lock:
            self._closed = True
            self._more.notify_all()

    def _serve(self) -> None:
        while True:
            with self._lock:
                while not self._ready:
                    if self._closed:
                        self._threads -= 1
                        return
                    self._idle += 1
                    self._more.wait()
                    self._idle -= 1
                ticket = self._ready.popleft()
                ticket.running = True
            ticket.work()
            with self._lock:
                ticket.running = False
                if ticket.abandoned:
                    return


class Ticket:
    """One piece of work."""

    __slots__ = ("abandoned", "running", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.running = False
        self.abandoned = False
