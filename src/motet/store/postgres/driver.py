"""The driver, asyncpg, which is an extra: imported here, and only when a store in PostgreSQL is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from motet.errors import ConfigError

asyncpg: Any
try:
    asyncpg = import_module("asyncpg")
except ImportError as error:
    raise ConfigError(
        "a store in PostgreSQL needs the driver asyncpg, which is not installed: pip install 'motet[postgres]'"
    ) from error
