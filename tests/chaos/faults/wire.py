"""PostgreSQL's protocol, version 3, as far as faults need it: where messages begin, what a server says of commits.

Source: "Frontend/Backend Protocol", PostgreSQL 14 to 18: https://www.postgresql.org/docs/current/protocol.html
Whether a transaction was committed is told by the server's own words (`CommandComplete` with the tag COMMIT), and not
by what the client has asked for: a COMMIT of a failed transaction is a ROLLBACK. So simple and extended queries are
the same here.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

SSL_REQUEST: Final = 80877103
GSS_REQUEST: Final = 80877104
CANCEL_REQUEST: Final = 80877102
WRITES: Final = (b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"COPY")


class Message(NamedTuple):
    """One whole message of the server; `kind` is empty for the single byte that answers a request for encryption."""

    kind: bytes
    raw: bytes

    @property
    def tag(self) -> bytes:
        """Of a CommandComplete: what was done, such as `INSERT 0 5`; else empty."""
        return self.raw[5:-1] if self.kind == b"C" else b""


class Opening:
    """The client's first messages, up to the startup packet; after it nothing of the client's is looked at."""

    def __init__(self) -> None:
        self.over = False
        self.name = ""
        """The client's `application_name`."""
        self._left = bytearray()

    def take(self, data: bytes) -> int:
        """How many requests for encryption there are in it: each is answered by a single byte."""
        if self.over:
            return 0
        self._left += data
        asked = 0
        while len(self._left) >= 8 and not self.over:
            length, code = struct.unpack_from("!ii", self._left)
            if len(self._left) < length:
                break
            words = bytes(self._left[8:length]).split(b"\0")
            self.name = dict(zip(words[::2], words[1::2], strict=False)).get(b"application_name", b"").decode()
            del self._left[:length]
            asked += code in (SSL_REQUEST, GSS_REQUEST)
            self.over = code not in (SSL_REQUEST, GSS_REQUEST)
        if self.over:
            self._left.clear()
        return asked


class Replies:
    """The server's bytes as messages."""

    def __init__(self) -> None:
        self.single_bytes = 0
        self._left = bytearray()

    def take(self, data: bytes) -> list[Message]:
        """The messages that are whole now."""
        self._left += data
        found: list[Message] = []
        at = 0
        while at < len(self._left):
            if self.single_bytes:
                end = at + 1
                self.single_bytes -= 1
                kind = b""
            else:
                if len(self._left) - at < 5:
                    break
                (length,) = struct.unpack_from("!i", self._left, at + 1)
                end = at + 1 + length
                if len(self._left) < end:
                    break
                kind = bytes(self._left[at : at + 1])
            found.append(Message(kind, bytes(self._left[at:end])))
            at = end
        del self._left[:at]
        return found


class Transaction:
    """What the server has said of the transaction on one connection."""

    def __init__(self) -> None:
        self.open = False
        self.wrote = False
        """Whether anything was written in it."""

    def hear(self, message: Message) -> bool:
        """Take notice of a message; whether it is the reply to a commit that has written something."""
        if message.kind == b"Z":
            committed = self.wrote and not self.open and message.raw[5:] == b"I"  # a statement of its own
            self.open = message.raw[5:] != b"I"
            self.wrote = self.wrote and self.open
            return committed
        tag = message.tag
        if tag == b"BEGIN":
            self.open, self.wrote = True, False
        elif tag.startswith(WRITES):
            self.wrote = self.wrote or not tag.endswith(b" 0")
        elif tag in (b"COMMIT", b"ROLLBACK"):
            committed = tag == b"COMMIT" and self.wrote
            self.open, self.wrote = False, False
            return committed
        return False
