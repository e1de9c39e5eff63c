"""One master secret and a key of its own for each purpose, so that none can stand in for another.

Knows what a purpose is called, not what is done for it.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
# Random keys have about 30 distinct bytes; a word, a row of zeros or a sample text has few.
DISTINCT_BYTES = 16

Purpose = Literal["sign-wrap", "refresh-mac", "rate-limit-hmac", "audit-hmac"]


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The 32 bytes of authsvc.master_key."""

    secret: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "MasterKey":
        """From base64url. Raises ValueError that says how to make a good one."""
        try:
            secret = base64.b64decode(text.rstrip("=") + "=", altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) != KEY_BYTES or len(set(secret)) < DISTINCT_BYTES:
            raise ValueError(
                "expected 32 random bytes as base64url; make them with "
                "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        return cls(secret)

    def derive(self, purpose: Purpose) -> bytes:
        """The 32 bytes for one purpose (HKDF-SHA256, RFC 5869)."""
        info = b"precis authsvc " + purpose.encode()
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(self.secret)


def mac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256."""
    return hmac.digest(key, message, hashlib.sha256)
