"""Refresh tokens: what is in one, and what a used one means for its session.

Knows no database and no clock.
"""

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import UUID

from authsvc.errors import RefreshTokenError
from authsvc.keys.master import mac

VERSION = 1
KEY_ID = 1  # which MAC key; there is one until a second master key can be given
PREFIX = struct.Struct(">BB16sI")
MAC_BYTES = 32
TOKEN_CHARS = 72

Verdict: TypeAlias = Literal["repeat", "reused", "ahead", "revoked", "expired", "undecided"]


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The session it belongs to, and how many rotations it has seen."""

    session_id: UUID
    generation: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A session that would not rotate, as the database shows it."""

    generation: int
    fault: Literal["revoked", "expired"] | None
    seconds_since_rotation: float


def encode(token: RefreshToken, secret: bytes) -> str:
    """The text a client keeps: the same each time, so that an answer lost on the way can be repeated."""
    prefix = PREFIX.pack(VERSION, KEY_ID, token.session_id.bytes, token.generation)
    return base64.urlsafe_b64encode(prefix + mac(secret, prefix)).decode("ascii")


def decode(text: str, secret: bytes) -> RefreshToken:
    """What the text says. Raises RefreshTokenError unless we have written exactly this text."""
    if len(text) != TOKEN_CHARS or not text.isascii():
        raise RefreshTokenError
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
        _, _, session_id, generation = PREFIX.unpack(raw[:-MAC_BYTES])
    except (binascii.Error, ValueError, struct.error) as error:
        raise RefreshTokenError from error
    token = RefreshToken(UUID(bytes=session_id), generation)
    # Not the bytes but the text is compared: base64 has other spellings of the same bytes ("+" for "-").
    if not hmac.compare_digest(text.encode("ascii"), encode(token, secret).encode("ascii")):
        raise RefreshTokenError
    return token


def judge(token: RefreshToken, seen: Seen, *, grace_seconds: float) -> Verdict:
    """What a genuine token that did not rotate its session means.

    repeat: its answer was lost, or two tabs refreshed at once. reused: somebody else has the session too.
    ahead: the database was restored from before this token was made.
    """
    if seen.fault is not None:
        return seen.fault
    if token.generation > seen.generation:
        return "ahead"
    if token.generation == seen.generation:
        return "undecided"
    if token.generation == seen.generation - 1 and seen.seconds_since_rotation < grace_seconds:
        return "repeat"
    return "reused"
