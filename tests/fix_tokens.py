"""People with accounts, sessions and access tokens, made by SQL: for tests that need tokens and not authsvc.

`tokens` has put a signing key and the issuer into `database`; `Tokens(any_database)` does so elsewhere.
"""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.types.json import Jsonb

from tests.fix_postgres import Database

ISSUER = "http://127.0.0.1:8081"
AUDIENCE = "postgrest"


@dataclass(frozen=True)
class Key:
    """An Ed25519 key pair under the name that its published form gives it (RFC 7638)."""

    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def jwk(self) -> dict[str, str]:
        x = _base64url(self.private.public_key().public_bytes_raw())
        members = {"crv": "Ed25519", "kty": "OKP", "x": x}
        canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
        return members | {"kid": _base64url(hashlib.sha256(canonical).digest()), "alg": "EdDSA", "use": "sig"}

    def sign(self, claims: dict[str, Any]) -> str:
        headers = {"kid": self.jwk["kid"], "typ": "at+jwt"}
        return jwt.encode(claims, self.private, algorithm="EdDSA", headers=headers)


@dataclass(frozen=True)
class Person:
    """An account with one session. `token(exp=...)` changes claims; None takes one away."""

    account: UUID
    session: UUID
    sign: Callable[[dict[str, Any]], str]

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(time.time())
        who = {"sub": str(self.account), "sid": str(self.session), "role": "pgrest_auth"}
        times = {"iat": now, "exp": now + 600, "auth_time": now}
        rest = {"iss": ISSUER, "aud": AUDIENCE, "jti": secrets.token_urlsafe(16), "amr": ["pwd"], "aal": 1}
        claims = who | times | rest | changed
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, **changed: Any) -> str:
        return self.sign(self.claims(**changed))

    def headers(self, **changed: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(**changed)}"}


class Tokens:
    """Signs for one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.key = Key()
        self._execute(
            "insert into private.token_issuer (issuer, audience) values (%s, %s) on conflict (only_row)"
            " do update set issuer = excluded.issuer, audience = excluded.audience",
            ISSUER, AUDIENCE,
        )  # fmt: skip
        self.publish(self.key)

    def publish(self, key: Key) -> None:
        """Make `key` the one that signs; the one before is still good."""
        self._execute("update private.signing_key set state = 'retiring' where state = 'active'")
        self._execute(
            "insert into private.signing_key (kid, public_jwk, private_key, state)"
            " values (%s, %s, 'sealed', 'active')",
            key.jwk["kid"], Jsonb(key.jwk),
        )  # fmt: skip
        self.key = key

    def person(self) -> Person:
        """A new account with a session."""
        account = uuid4()
        email = f"{account}@example.com"
        self._execute(
            "insert into private.account (id, email, email_key) values (%s, %s, %s)", account, email, email
        )
        return self.session(account)

    def session(self, account: UUID) -> Person:
        """One more session of an account."""
        session = uuid4()
        self._execute(
            "insert into private.session (id, account_id, expires_at, idle_expires_at)"
            " values (%s, %s, now() + interval '30 days', now() + interval '7 days')",
            session, account,
        )  # fmt: skip
        return Person(account, session, lambda claims: self.key.sign(claims))

    def revoke(self, person: Person) -> None:
        self._execute(
            "update private.session set revoked_at = now(), revoke_reason = 'logout' where id = %s",
            person.session,
        )

    def _execute(self, statement: str, *values: object) -> None:
        with self._database.connect() as connection:
            connection.execute(statement, values)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture
def tokens(database: Database) -> Tokens:
    return Tokens(database)
