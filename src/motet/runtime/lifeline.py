"""What ties a worker's process to the supervisor that started it: one socket between the two.

    worker ──its document, one line of JSON──> supervisor      it is ready
    worker <────────── end of file ─────────── supervisor      the supervisor is gone, however suddenly

The kernel closes a dead process's end, so this needs no signal, no pid and no clock. The worker then stops in good
order. Its end is watched by a thread, so that even a worker whose event loop hangs does not live on for ever.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Final

log = logging.getLogger("motet.worker")

VARIABLE: Final = "MOTET_LIFELINE"
"""How a supervisor tells its child: the socket's descriptor and the worker's number."""

LONGEST_DOCUMENT: Final = 1 << 20
EARLY_SECONDS: Final = 5.0
ABANDONED: Final = 1


class Lifeline:
    """The worker's end. `number` is the worker's, from 1, as logs and ports count them."""

    def __init__(self, descriptor: int, number: int) -> None:
        self.number = number
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)  # what a step starts is not to hold this end
        self._lock = threading.Lock()
        self._gone = False
        self._stop: Callable[[], None] | None = None
        self._seconds = EARLY_SECONDS
        threading.Thread(target=self._watch, name="motet-lifeline", daemon=True).start()

    def tell_ready(self, document: bytes) -> None:
        """Say that this worker works now; `document` is one line of JSON about it."""
        try:
            self._socket.sendall(document + b"\n")
        except OSError:
            log.debug("the supervisor is gone already")

    def on_gone(self, stop: Callable[[], None], seconds: float) -> None:
        """Call `stop` (in another thread) when the supervisor is gone; end the process if it runs so long after."""
        with self._lock:
            self._stop, self._seconds = stop, seconds
            gone = self._gone
        if gone:
            stop()

    def _watch(self) -> None:
        try:
            while self._socket.recv(64):
                pass
        except OSError:
            pass  # as good as its end
        with self._lock:
            self._gone = True
            stop, seconds = self._stop, self._seconds
        log.warning("the supervisor is gone; stopping")
        if stop is not None:
            stop()
        threading.Event().wait(seconds)
        os._exit(ABANDONED)


def lifeline() -> Lifeline | None:
    """This process's, if a supervisor has started it. Asked once: what the worker starts in turn inherits nothing."""
    told = os.environ.pop(VARIABLE, None)
    if told is None:
        return None
    descriptor, number = told.split()
    return Lifeline(int(descriptor), int(number))


def invitation(descriptor: int, number: int) -> dict[str, str]:
    """The variable that leads to the other end; for the child's environment."""
    return {VARIABLE: f"{descriptor} {number}"}
