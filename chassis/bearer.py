"""Verifying an access token with our own keys.

Knows no database: whether the token's session still lives is the caller's question.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chassis.errors import ApiError

TOKEN_MAX_CHARS = 4 * 1024
LEEWAY_SECONDS = 5
TOKEN = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}")  # PyJWT lets padding pass
TOKEN_TYPE = "at+jwt"  # noqa: S105 (RFC 9068's name for an access token)
REQUIRED = ["exp", "iat", "iss", "aud", "sub", "sid"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. `expires_at` is in seconds since 1970."""

    subject: UUID
    session: UUID
    expires_at: int
    role: str
    raw: Mapping[str, Any]


def public_keys(documents: Iterable[str]) -> dict[str, Ed25519PublicKey]:
    """The keys by kid, from their JWKs as JSON. Raises PyJWTError for what is none."""
    keys = [jwt.PyJWK.from_json(document) for document in documents]
    return {str(key.key_id): key.key for key in keys}


class Verifier:
    """Accepts tokens that one of `keys` (by kid, may change while we live) has signed for us."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey], *, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience

    def verify(self, token: str) -> Claims:
        """The claims. Raises ApiError 401 token_expired, or invalid_token for everything else."""
        try:
            return _claims(self._decode(token))
        except jwt.ExpiredSignatureError as error:
            raise refusal("token_expired", "The access token has expired: refresh it.") from error
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise refusal("invalid_token", "The access token is not valid: sign in again.") from error

    def _decode(self, token: str) -> dict[str, Any]:
        if len(token) > TOKEN_MAX_CHARS or not TOKEN.fullmatch(token):
            raise ValueError("not three parts of base64url")
        header = jwt.get_unverified_header(token)
        key = self._keys.get(header.get("kid", ""))
        # The header is the sender's word: it may choose among our keys, and nothing else (no jwk, jku, x5u).
        if key is None or header.get("typ") != TOKEN_TYPE:
            raise ValueError("unknown key or type")
        return jwt.decode(
            token,
            key,
            algorithms=["EdDSA"],
            audience=self._audience,
            issuer=self._issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": REQUIRED, "strict_aud": True},
        )


def refusal(code: str, message: str) -> ApiError:
    """A 401 with the challenge of RFC 6750; both codes are its error `invalid_token`."""
    challenge = f'Bearer error="invalid_token", error_description="{message}"'
    return ApiError(401, code, message, headers={"WWW-Authenticate": challenge})


def _claims(raw: dict[str, Any]) -> Claims:
    texts = (raw["sub"], raw["sid"], raw.get("role"))
    if not all(isinstance(text, str) for text in texts) or type(raw["exp"]) is not int:
        raise ValueError("a claim has the wrong type")
    return Claims(UUID(raw["sub"]), UUID(raw["sid"]), raw["exp"], raw["role"], raw)
