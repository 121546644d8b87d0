"""Payloads under a key: AES-256-GCM, bound to the record that each belongs to.

A sealed payload is a JSON string, `"sealed:1:KEY:BASE64"`, so a column of JSON stays one. What it is bound to (table,
run, position, event, column) is authenticated with it: in another record, or changed by a bit, it does not open.

The nonce is made from key, place and content (as SIV does), not by chance. So to seal the same record twice gives the
same text, which everything that is idempotent rests on: a fact that is written again after a lost reply has to be the
same fact. All that shows is that the same record holds the same content, which was known.

What cannot be opened although its key is there is corrupt: it comes as text that is no JSON, as other corrupt rows do,
so that one run is parked for it and all others go on.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from motet.errors import ConfigError, StoreRefused, StoreRejected
from motet.model.forgotten import FORGOTTEN
from motet.model.keyring import Keyring

MARK: Final = '"sealed:1:'
_BROKEN: Final = "\ufffd"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


def is_sealed(text: str | None) -> bool:
    return text is not None and text.startswith(MARK)


class Sealer:
    """Seals and opens texts with the keys of a keyring. Safe to use from several threads.

    Raises:
        ConfigError: the extra is not installed.
    """

    def __init__(self, keys: Keyring) -> None:
        try:  # an extra; and who has no keys does not wait for its import
            aead: Any = import_module("cryptography.hazmat.primitives.ciphers.aead")
            self._invalid: Any = import_module("cryptography.exceptions").InvalidTag
        except ImportError:
            raise ConfigError(
                "encryption needs the package cryptography; install it with: pip install 'motet[crypto]'"
            ) from None
        self.keys = keys
        self._ciphers = {name: aead.AESGCM(keys.key_for(name, "encryption")) for name in keys.names}

    def seal(self, text: str | None, place: str) -> str | None:
        """With the current key; as it is if there is none.

        Args:
            place: the record and the column that it belongs to.
        """
        name = self.keys.current
        if text is None or name is None or text == FORGOTTEN:
            return text
        try:
            data, bound = text.encode(), place.encode()
        except UnicodeEncodeError as error:
            raise StoreRejected(f"a payload cannot be stored: {error}") from error
        nonce = hmac.digest(
            self.keys.key_for(name, "nonce"), len(bound).to_bytes(4, "big") + bound + data, "sha256"
        )[:_NONCE_BYTES]  # fmt: skip
        sealed = nonce + self._ciphers[name].encrypt(nonce, data, bound)
        return f'{MARK}{name}:{base64.b64encode(sealed).decode()}"'

    def open(self, text: str | None, place: str) -> str | None:
        """What was sealed; a text that is not sealed as it is.

        Raises:
            StoreRefused: its key is not there.
        """
        if text is None or not text.startswith(MARK):
            return text
        name, found, body = text[len(MARK) : -1].partition(":")
        if not found or text[-1] != '"':
            return broken("its form is unknown")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise _missing("a payload", name, self.keys)
        try:
            sealed = base64.b64decode(body, validate=True)
            if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
                return broken("it is cut off")
            opened: bytes = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode())
        except (binascii.Error, self._invalid):
            return broken(f"it was changed, or belongs to another record (key '{name}')")
        return opened.decode()


def broken(why: str) -> str:
    """What stands for a payload that cannot be opened."""
    return f"{_BROKEN}an encrypted payload cannot be opened: {why}"


def is_broken(value: str | int | None) -> bool:
    return isinstance(value, str) and value.startswith(_BROKEN)


def key_of(text: str) -> str:
    """The name of the key that a sealed text was sealed with."""
    return text[len(MARK) :].partition(":")[0]


def check_keys(known: Mapping[str, str], keys: Keyring | None, address: str) -> None:
    """Whether these keys open everything in a store.

    Args:
        known: the keys that the store was used with, and their proofs.

    Raises:
        StoreRefused: one is missing, or is another.
    """
    for name, proof in known.items():
        if keys is None or name not in keys:
            raise _missing(f"store {address} holds payloads", name, keys)
        if keys.proof(name) != proof:
            raise StoreRefused(
                f"store {address} was encrypted with another key by the name '{name}'; find the right one, for with "
                "this one nothing opens"
            )


def _missing(what: str, name: str, keys: Keyring | None) -> StoreRefused:
    there = f"the keys here are {', '.join(keys.names) or 'none'}" if keys is not None else "no keys are set here"
    is_or_are = "are" if what.endswith("s") else "is"
    return StoreRefused(
        f"{what} that {is_or_are} encrypted with key '{name}', and {there}; add it to MOTET_KEYS or App(keys=...)"
    )
