"""Verifies bearer tokens with the public keys that authsvc keeps in the database.

Knows no private key and no session.
"""

import asyncio
import time
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chassis.bearer import Claims, Verifier, public_keys
from chassis.database import Pool
from chassis.http import ApiError

REREAD_SECONDS: Final = 30.0
REREAD_AT_MOST_EVERY_SECONDS: Final = 1.0

READ_KEYS: Final = "select jwk::text, issuer, audience from gate.public_keys()"


class Keys:
    """The key set as it was read last. A token with an unknown key has it read again."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._verifier: Verifier | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def verify(self, token: str) -> Claims:
        """The token's claims. Raises ApiError 401, or 503 while there is no key at all."""
        if _kid(token) not in self._keys:
            await self._reread()
        if self._verifier is None:
            message = "No key to verify tokens with is published yet. Try again in a moment."
            raise ApiError(503, "no_keys", message, headers={"Retry-After": "2"})
        return self._verifier.verify(token)

    async def refresh(self) -> None:
        """Read the keys now: a retired one stops counting."""
        self._read_at = time.monotonic()
        rows = await self._pool.fetch(READ_KEYS)
        self._keys = public_keys(row["jwk"] for row in rows)
        self._verifier = (
            Verifier(self._keys, issuer=rows[0]["issuer"], audience=rows[0]["audience"]) if rows else None
        )

    async def _reread(self) -> None:
        # Who waits here finds the keys fresh: after a rotation many come at once, and none may be refused.
        async with self._reading:
            waited = time.monotonic() - self._read_at >= REREAD_AT_MOST_EVERY_SECONDS
            if waited or self._verifier is None:  # authsvc may only just have made the first one
                await self.refresh()


def _kid(token: str) -> str | None:
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.PyJWTError:
        return None
    return kid if isinstance(kid, str) else None
