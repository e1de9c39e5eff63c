"""What a client of Postgres says on the wire: its name, and the statements it sends off.

Reads the frontend's messages (protocol 3.0) and changes none.
"""

import struct
from dataclasses import dataclass, field

PROTOCOL = 196608  # 3.0; anything else before it asks for encryption
HEADER = struct.Struct("!cI")
OPENING = struct.Struct("!II")


@dataclass(slots=True)
class Listener:
    """`feed` it a client's bytes as they come."""

    name: str | None = None  # application_name, from the startup packet on
    _buffer: bytearray = field(default_factory=bytearray)
    _prepared: dict[bytes, str] = field(default_factory=dict)
    _bound: list[str] = field(default_factory=list)

    def feed(self, data: bytes) -> list[str]:
        """The texts of the statements that are complete with these bytes."""
        self._buffer += data
        sent: list[str] = []
        while self._open() if self.name is None else self._hear(sent):
            pass
        return sent

    def _open(self) -> bool:
        """Takes one packet of those that have no type."""
        if len(self._buffer) < OPENING.size:
            return False
        length, code = OPENING.unpack_from(self._buffer)
        if len(self._buffer) < length:
            return False
        words = bytes(self._buffer[OPENING.size : length]).split(b"\0")
        del self._buffer[:length]
        if code == PROTOCOL:
            settings = dict(zip(words[::2], words[1::2], strict=False))
            self.name = settings.get(b"application_name", b"").decode()
        return True

    def _hear(self, sent: list[str]) -> bool:
        """Takes one message."""
        if len(self._buffer) < HEADER.size:
            return False
        kind, length = HEADER.unpack_from(self._buffer)
        if len(self._buffer) < 1 + length:
            return False
        body = bytes(self._buffer[HEADER.size : 1 + length])
        del self._buffer[: 1 + length]
        self._note(kind, body, sent)
        return True

    def _note(self, kind: bytes, body: bytes, sent: list[str]) -> None:
        if kind == b"P":  # parse
            name, text, _ = body.split(b"\0", 2)
            self._prepared[name] = text.decode()
        elif kind == b"B":  # bind
            _, name, _ = body.split(b"\0", 2)
            self._bound.append(self._prepared.get(name, ""))
        elif kind == b"Q":  # a simple query
            sent.append(body.rstrip(b"\0").decode())
        elif kind == b"S":  # sync: now the server answers, and has committed
            sent += self._bound
            self._bound.clear()
