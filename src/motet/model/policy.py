"""When a failed attempt is tried again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass

from motet.errors import ConfigError
from motet.model.clock import SECOND, Duration, Micros, seconds


@dataclass(frozen=True, slots=True)
class Retry:
    """The retry policy of a step or compensation.

    Args:
        attempts: how many tries in all; None never gives up.
        first: the wait after the first failed attempt.
        factor: how much longer each further wait is.
        cap: the longest wait.
        jitter: the share of each wait that is chance (0.1: up to 10 % more or less), so that crowds spread out.
        on: retry only these errors; None retries every fault.
        never: fail at once on these, whatever `on` says.

    Raises:
        ConfigError: a number is out of range.
    """

    attempts: int | None = 5
    first: Duration = 0.2
    factor: float = 2.0
    cap: Duration = 30.0
    jitter: float = 0.1
    on: tuple[type[BaseException], ...] | None = None
    never: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise ConfigError(f"Retry(attempts={self.attempts}): at least 1, or None for no end")
        if seconds(self.first) < 0 or seconds(self.cap) < 0 or self.factor < 1:
            raise ConfigError(f"{self!r}: first and cap may not be negative, factor is at least 1")
        if not 0 <= self.jitter <= 1:
            raise ConfigError(f"Retry(jitter={self.jitter}): between 0 and 1")

    def allows(self, attempt: int, error: BaseException) -> bool:
        """Whether another attempt follows the failed `attempt` (counted from 1)."""
        if self.attempts is not None and attempt >= self.attempts:
            return False
        if isinstance(error, self.never):
            return False
        return self.on is None or isinstance(error, self.on)

    def wait(self, attempt: int) -> Micros:
        """How long to wait after the failed `attempt`; the caller records it, for it is partly chance."""
        exponent = min(attempt - 1, 64)
        wait = min(seconds(self.cap), seconds(self.first) * self.factor**exponent)
        spread = 1 + self.jitter * (2 * random.random() - 1)
        return round(wait * spread * SECOND)


STEP_RETRY = Retry()
COMPENSATION_RETRY = Retry(attempts=10, first=0.5, cap=60.0)
