"""Access tokens: what they say, and signing it.

Knows no database and no HTTP.
"""

import os
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt
from jwt.utils import base64url_encode

from authsvc.keys.ring import KeyRing, SigningKey
from chassis.bearer import TOKEN_TYPE, Claims, Verifier

ROLE = "pgrest_auth"  # never another: it is what PostgREST becomes for the bearer
ALGORITHM = "EdDSA"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a token is about. `authenticated_at` is in seconds since 1970."""

    account_id: UUID
    session_id: UUID
    authenticated_at: int
    amr: tuple[str, ...]
    aal: int


@dataclass(frozen=True, slots=True)
class Issuer:
    """What all tokens of this service have in common."""

    ring: KeyRing
    name: str
    audience: str
    lifetime_seconds: int

    def issue(self, subject: Subject) -> str:
        """A token for the subject, signed with the active key."""
        return sign(self.claims(subject), self.ring.current.active)

    def verify(self, token: str) -> Claims:
        """What one of our own tokens says. Raises ApiError 401."""
        return Verifier(self.ring.current.public, issuer=self.name, audience=self.audience).verify(token)

    def claims(self, subject: Subject) -> dict[str, Any]:
        """No e-mail address: claims end in database logs. No nbf: clocks differ, and iat says it already."""
        now = int(time.time())
        return {
            "iss": self.name,
            "aud": self.audience,
            "sub": str(subject.account_id),
            "sid": str(subject.session_id),
            "role": ROLE,
            "iat": now,
            "exp": now + self.lifetime_seconds,
            "jti": base64url_encode(os.urandom(16)).decode("ascii"),
            "amr": list(subject.amr),
            "aal": subject.aal,
            "auth_time": subject.authenticated_at,
        }


def sign(claims: dict[str, Any], key: SigningKey) -> str:
    """The claims as a JWS with our header."""
    return jwt.encode(claims, key.private, algorithm=ALGORITHM, headers={"kid": key.kid, "typ": TOKEN_TYPE})
