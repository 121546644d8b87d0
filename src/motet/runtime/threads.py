"""Daemon threads for steps that are plain functions.

Not the standard library's pool: its threads are joined at exit, so a step that hangs would keep the process alive,
and a hung thread would keep its place for ever. Here an abandoned thread loses its place and dies when it returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from motet.model.run import DEFAULT_QUEUE
from motet.runtime.turns import Places, Turns

Work = Callable[[], None]


class DaemonThreads:
    """Runs at most `size` pieces of work at a time, and of each queue at least one; idle threads are reused."""

    def __init__(self, size: int) -> None:
        self._places = Places(size)
        self._ready: Turns[Ticket] = Turns()
        self._handed: list[Ticket] = []  # for idle threads, which have been told
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._idle = 0  # that nothing has been handed to yet
        self._closed = False

    def submit(self, work: Work, queue: str = DEFAULT_QUEUE) -> Ticket:
        """Run the work as soon as a place is free."""
        ticket = Ticket(work, queue)
        with self._lock:
            if self._places.has(queue):
                self._begin(ticket)
            else:
                self._ready.put(queue, ticket)
        return ticket

    def abandon(self, ticket: Ticket) -> None:
        """Stop counting on this work: another thread takes its place."""
        with self._lock:
            if not ticket.begun:
                self._ready.remove(ticket.queue, ticket)
            elif not (ticket.abandoned or ticket.done):
                ticket.abandoned = True
                self._places.leave(ticket.queue)
                following = self._places.next(self._ready, ticket.queue)
                if following is not None:
                    self._begin(following)

    def begin_no_more(self) -> None:
        """Forget all work that has not begun."""
        with self._lock:
            self._ready.clear()

    def close(self) -> None:
        """Let idle threads end; those at work end with it, or with the process."""
        with self._lock:
            self._closed = True
            self._more.notify_all()

    def _begin(self, ticket: Ticket) -> None:
        """In an idle thread, else in a new one. The caller holds the lock."""
        ticket.begun = True
        self._places.take(ticket.queue)
        if self._idle:
            self._idle -= 1
            self._handed.append(ticket)
            self._more.notify()
        else:
            threading.Thread(target=self._serve, args=(ticket,), name="motet-step", daemon=True).start()

    def _serve(self, first: Ticket) -> None:
        ticket: Ticket | None = first
        while ticket is not None:
            ticket.work()
            with self._lock:
                ticket = self._next(ticket)

    def _next(self, ticket: Ticket) -> Ticket | None:
        """What this thread does after the ticket; None: it ends. The caller holds the lock."""
        ticket.done = True
        if ticket.abandoned:
            return None
        self._places.leave(ticket.queue)
        following = self._places.next(self._ready, ticket.queue)
        if following is not None:
            following.begun = True
            self._places.take(following.queue)
            return following
        self._idle += 1
        while not (self._handed or self._closed):
            self._more.wait()
        if self._handed:
            return self._handed.pop()
        self._idle -= 1
        return None


class Ticket:
    """One piece of work."""

    __slots__ = ("abandoned", "begun", "done", "queue", "work")

    def __init__(self, work: Work, queue: str) -> None:
        self.work = work
        self.queue = queue
        self.begun = False
        self.done = False
        self.abandoned = False
