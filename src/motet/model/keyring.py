"""The keys under which payloads are encrypted: several have names, one of them is used for what is written now.

Of each key others are derived, each for one purpose alone, so that no two uses of a key can be played against each
other. Nothing here encrypts; `motet.store.sealing` does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final, Literal

from motet.errors import ConfigError

KEY_BYTES: Final = 32
NONE: Final = "none"
"""In a text, in the place of the current key: nothing is encrypted, what is can be read."""

Purpose = Literal["encryption", "nonce", "digest", "proof"]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Keyring:
    """Keys by their names.

    Args:
        keys: by name (letters, digits, dots, dashes), 32 random bytes each; or these in base64.
        current: the name of the one that encrypts from now on; None: nothing is encrypted, what is can be read.

    Raises:
        ConfigError: a key or name cannot work.
    """

    def __init__(self, keys: Mapping[str, bytes | str], *, current: str | None) -> None:
        self._keys = {_checked_name(name): _checked(name, key) for name, key in keys.items()}
        if current is not None and current not in self._keys:
            raise ConfigError(f"the current key is to be '{current}', and there is no such key among {self.names}")
        self.current = current
        self._derived: dict[tuple[str, Purpose], bytes] = {}

    @classmethod
    def from_text(cls, text: str) -> Keyring:
        """As MOTET_KEYS has them: `2026-11=BASE64,2026-05=BASE64`. The first is the current key; `none` in its place
        encrypts nothing. Raises ConfigError."""
        parts = [part.strip() for part in re.split(r"[,\s]+", text) if part.strip()]
        first = parts[:1] == [NONE]
        keys: dict[str, str] = {}
        for part in parts[1:] if first else parts:
            name, found, key = part.partition("=")
            if not found or name in keys:
                raise ConfigError(
                    f"MOTET_KEYS: {'key ' + name + ' is there twice' if name in keys else 'an entry is no NAME=KEY'}; "
                    "write for example MOTET_KEYS=2026-11=BASE64,2026-05=BASE64, the current key first"
                )
            keys[name] = key
        return cls(keys, current=None if first else next(iter(keys), None))

    @property
    def names(self) -> list[str]:
        """Of all keys."""
        return [*self._keys]

    def __contains__(self, name: object) -> bool:
        return name in self._keys

    def key_for(self, name: str, purpose: Purpose) -> bytes:
        """A key that is used for this alone. Raises KeyError."""
        found = self._derived.get((name, purpose))
        if found is None:
            found = hmac.digest(self._keys[name], f"motet 1 {purpose}".encode(), "sha256")
            self._derived[name, purpose] = found
        return found

    def proof(self, name: str) -> str:
        """By which a store knows the key again, without giving anything away."""
        return hashlib.sha256(self.key_for(name, "proof")).hexdigest()

    def digest(self, name: str, data: bytes) -> str:
        """Of something that only who has the key can try out."""
        return hmac.new(self.key_for(name, "digest"), data, "sha256").hexdigest()

    def __repr__(self) -> str:
        return f"<keyring of {', '.join(self._keys) or 'nothing'}; current: {self.current or 'none'}>"


def _checked_name(name: str) -> str:
    if name in (NONE, "sha256") or not _NAME.fullmatch(name):
        raise ConfigError(
            f"a key is called {name!r}; give it 1 to 64 letters, digits, dots and dashes, but not 'none' or 'sha256'"
        )
    return name


def _checked(name: str, key: bytes | str) -> bytes:
    if isinstance(key, str):
        try:
            key = base64.b64decode(key.replace("-", "+").replace("_", "/") + "=" * (-len(key) % 4), validate=True)
        except (binascii.Error, ValueError):
            key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"key '{name}' is not {KEY_BYTES} bytes in base64; make one with: "
            'python -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'
        )
    return bytes(key)
