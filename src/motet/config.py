"""One frozen, validated settings object; every number that an operator may want to change is here."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace

from motet.errors import ConfigError
from motet.model.keyring import Keyring

DEFAULT_STORE = "sqlite:///motet.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a process of Motet behaves.

    Args:
        store: where everything is kept: `sqlite:///path/to/file.db` (three slashes: relative, four: absolute).
        payload_limit_bytes: the largest input, result, event or error, encoded.
        idle_seconds: how long a run that only waits stays in a worker's memory.
        resident_limit: how many runs that only wait a worker keeps in memory at most.
        step_timeout_seconds: the timeout of an attempt whose step names none.
        sync_threads: how many plain (not async) steps one worker runs at the same time. Each queue has at least one,
            even above this number.
        attempts_limit: how many attempts of any kind one worker runs at the same time; likewise.
        lease_seconds: how long a worker's counter must stand still, watched, before it may be declared dead.
        poll_seconds: how often a worker looks for due timers and for work from other processes, at the least.
        batch_rows: the most records that one commit may hold.
        batch_bytes: the most payload bytes that one commit may hold.
        drain_seconds: how long running steps may finish when a worker is asked to stop.
        keys: those under which payloads are encrypted; by default MOTET_KEYS, else none.
        prune_after_days: a worker prunes by itself, once an hour, what was over so long ago; None: nobody does.
        development: refuse blocking I/O in workflow bodies.
    """

    store: str = DEFAULT_STORE
    payload_limit_bytes: int = 2 * 1024 * 1024
    idle_seconds: float = 10.0
    resident_limit: int = 1_000
    step_timeout_seconds: float = 300.0
    sync_threads: int = 32
    attempts_limit: int = 10_000
    lease_seconds: float = 30.0
    poll_seconds: float = 1.0
    batch_rows: int = 1_000
    batch_bytes: int = 8 * 1024 * 1024
    drain_seconds: float = 10.0
    prune_after_days: float | None = None
    keys: Keyring | None = None
    development: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or isinstance(value, bool | str | Keyring):
                continue
            if not value > 0:
                raise ConfigError(f"setting {field.name} is {value!r}; it must be a number above 0")
        if ":" not in self.store:
            raise ConfigError(f"store {self.store!r} is not an address; write for example {DEFAULT_STORE!r}")

    @classmethod
    def from_environment(
        cls, store: str | None = None, settings: Settings | None = None, keys: Keyring | None = None
    ) -> Settings:
        """The settings of this process: `store` if given, else MOTET_STORE, else the default; likewise `keys`."""
        base = settings or cls(development=_flag("MOTET_DEVELOPMENT"))
        chosen = store or (base.store if settings and base.store != DEFAULT_STORE else None)
        keys = keys or base.keys
        if keys is None and (text := os.environ.get("MOTET_KEYS", "").strip()):
            keys = Keyring.from_text(text)
        return replace(base, store=chosen or os.environ.get("MOTET_STORE") or base.store, keys=keys)


def _flag(name: str) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise ConfigError(f"environment variable {name} is {value!r}; use 1 or 0")
