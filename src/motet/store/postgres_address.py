"""From a store's address to what the driver is told, and to what may be shown.

    postgresql://user:password@host:5432/database?sslmode=require&listen=off&pooler=transaction

Two options are ours, all others the driver's:

    listen=off           hear of others' commits by looking ten times a second only, not by LISTEN
    pooler=transaction   a pooler such as PgBouncer stands between, and gives each transaction another session: so
                         nothing is kept in a session, neither prepared statements nor settings, and `listen` is off

Several hosts, `postgresql://one:5432,two:5432/database`, are a primary and its standbys: whichever can be written is
the store.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from motet.errors import ConfigError

SCHEMES = ("postgresql", "postgres")
EXAMPLE = "postgresql://user:password@host/database"


class Address(NamedTuple):
    """Where a store is.

    Args:
        dsn: what the driver is told.
        shown: without the password.
        listen: hear of commits by LISTEN.
        pooled: a session is ours for one transaction at a time.
    """

    dsn: str
    shown: str
    listen: bool
    pooled: bool


def is_postgres(address: str) -> bool:
    return address.partition("://")[0] in SCHEMES


def parse(address: str) -> Address:
    """Raises ConfigError."""
    try:
        parts = urlsplit(address)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        _ = parts.port if "," not in parts.netloc else None
    except ValueError as error:
        raise ConfigError(f"store address {hide_password(address)!r} is not understood: {error}; {EXAMPLE}") from None
    if not parts.path.strip("/") and not options.get("database") and not options.get("dbname"):
        raise ConfigError(f"store address {hide_password(address)!r} names no database; write {EXAMPLE}")
    listen = _flag(address, options.pop("listen", "on"), "listen")
    pooler = options.pop("pooler", "none")
    if pooler not in ("none", "session", "transaction"):
        raise ConfigError(f"pooler={pooler} in the store's address is not understood; write pooler=transaction")
    pooled = pooler == "transaction"
    options.setdefault("application_name", "motet")
    if "," in parts.netloc or "," in options.get("host", ""):
        options.setdefault("target_session_attrs", "primary")  # a standby may be the first that answers
    dsn = urlunsplit(parts._replace(query=urlencode(options, quote_via=quote)))
    return Address(dsn, hide_password(address), listen and not pooled, pooled)


def hide_password(address: str) -> str:
    """For messages and logs."""
    scheme, separator, rest = address.partition("://")
    netloc, slash, path = rest.partition("/")
    user, at, host = netloc.rpartition("@")
    if at and ":" in user:
        netloc = f"{user.partition(':')[0]}:***@{host}"
    path, mark, query = path.partition("?")
    words = [f"{word.partition('=')[0]}=***" if word.startswith("password=") else word for word in query.split("&")]
    return f"{scheme}{separator}{netloc}{slash}{path}{mark}{'&'.join(words)}"


def _flag(address: str, value: str, name: str) -> bool:
    if value in ("on", "true", "yes", "1"):
        return True
    if value in ("off", "false", "no", "0"):
        return False
    raise ConfigError(f"{name}={value} in store address {hide_password(address)!r}: write {name}=on or {name}=off")
