"""The keys that sign access tokens: made, sealed, rotated and published.

next (published, not signing) -> active (signs, exactly one) -> retiring (published until its last token has
expired) -> gone. Knows no token and no account.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from jwt.algorithms import OKPAlgorithm
from jwt.utils import base64url_encode

from authsvc.database import Connection
from chassis.bearer import public_keys
from chassis.errors import StartError

State = Literal["next", "active", "retiring"]

POLL_SECONDS = 30.0
# Every process has polled twice and every PostgREST has been told.
PUBLISHED_BEFORE_USE_SECONDS = 3 * POLL_SECONDS
# Until every process has noticed that it signs no more, and for the verifiers' skew.
RETIRING_MARGIN_SECONDS = 2 * POLL_SECONDS + 60
NONCE_BYTES = 12

# One at a time decides: two first starts at once must not make two keys.
LOCK = "select pg_advisory_xact_lock(hashtextextended('precis authsvc signing keys', 0))"
SELECT = """
select kid, public_jwk::text as public_jwk, private_key, state,
       extract(epoch from now() - created_at)::float8 as age,
       extract(epoch from now() - retired_at)::float8 as retired_for
  from private.signing_key order by state = 'active' desc, created_at desc
"""
INSERT = """
insert into private.signing_key (kid, public_jwk, private_key, state, activated_at)
values ($1, $2, $3, $4, case $4 when 'active' then now() end)
"""
RETIRE = "update private.signing_key set state = 'retiring', retired_at = now() where state = 'active'"
ACTIVATE = "update private.signing_key set state = 'active', activated_at = now() where kid = $1"
IS_PUBLISHED = "select exists (select from private.signing_key where kid = $1 and state <> 'next')"
DELETE = "delete from private.signing_key where kid = $1"
# Delivered after commit, so that PostgREST reads the new keys. The same channel wakes our own processes.
TELL_POSTGREST = "notify pgrst, 'reload config'"
SET_ISSUER = """
insert into private.token_issuer (issuer, audience) values ($1, $2)
on conflict (only_row) do update set issuer = excluded.issuer, audience = excluded.audience
"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that may sign."""

    kid: str
    private: Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys at one moment. `document` is the JWKS as it is served, byte for byte."""

    active: SigningKey
    coming: tuple[SigningKey, ...]
    public: Mapping[str, Ed25519PublicKey]
    document: bytes


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A row. `age` and `retired_for` are in seconds."""

    kid: str
    public_jwk: str
    private_key: bytes
    state: State
    age: float
    retired_for: float | None


@dataclass(frozen=True, slots=True)
class Create:
    """Make a key that signs at once: there is none."""


@dataclass(frozen=True, slots=True)
class Activate:
    kid: str


@dataclass(frozen=True, slots=True)
class Forget:
    kid: str


Step: TypeAlias = Create | Activate | Forget


def plan(keys: list[StoredKey], *, token_seconds: int, is_loaded: Callable[[str], bool]) -> Iterator[Step]:
    """What has become due. `is_loaded` tells of a key whether PostgREST is known to have it."""
    has_active = any(key.state == "active" for key in keys)
    due = [
        key
        for key in keys
        if key.state == "next" and key.age >= PUBLISHED_BEFORE_USE_SECONDS and is_loaded(key.kid)
    ]
    if due:
        yield Activate(due[-1].kid)
    elif not has_active:
        yield Create()
    for key in keys:
        if key.state == "retiring" and (key.retired_for or 0) > token_seconds + RETIRING_MARGIN_SECONDS:
            yield Forget(key.kid)


class KeyRing:
    """The keys this process knows; `look` brings them up to date and takes the steps that are due."""

    def __init__(self, *, secret: bytes, token_seconds: int) -> None:
        self._cipher = AESGCM(secret)
        self._token_seconds = token_seconds
        self._current: KeySet | None = None
        # A canary replaces it with what it has seen.
        self.is_loaded: Callable[[str], bool] = lambda _kid: True

    @property
    def current(self) -> KeySet:
        if self._current is None:
            raise RuntimeError("look first")
        return self._current

    async def look(self, connection: Connection) -> KeySet:
        """Read the keys, after the steps that are due. Raises StartError if they cannot be opened."""
        keys = await self._read(connection)
        if self._plan(keys):
            async with connection.transaction():
                await connection.execute(LOCK)
                for step in self._plan(await self._read(connection)):
                    await self._take(connection, step)
                await connection.execute(TELL_POSTGREST)
            keys = await self._read(connection)
        self._current = self._open(keys)
        return self._current

    async def is_published(self, connection: Connection) -> bool:
        """Whether what we sign with is still a key of this service."""
        return bool(await connection.fetchval(IS_PUBLISHED, self.current.active.kid))

    async def request_rotation(self, connection: Connection) -> str:
        """Publish the next key, unless one is on its way; the running processes do the rest. Its kid."""
        async with connection.transaction():
            await connection.execute(LOCK)
            coming = [key.kid for key in await self._read(connection) if key.state == "next"]
            kid = coming[0] if coming else await self._create(connection, "next")
            await connection.execute(TELL_POSTGREST)
        return kid

    def _plan(self, keys: list[StoredKey]) -> list[Step]:
        return list(plan(keys, token_seconds=self._token_seconds, is_loaded=self.is_loaded))

    async def _read(self, connection: Connection) -> list[StoredKey]:
        return [StoredKey(**row) for row in await connection.fetch(SELECT)]

    async def _take(self, connection: Connection, step: Step) -> None:
        match step:
            case Create():
                kid = await self._create(connection, "active")
            case Activate(kid):
                await connection.execute(RETIRE)
                await connection.execute(ACTIVATE, kid)
            case Forget(kid):
                await connection.execute(DELETE, kid)
        log.info("keys.changed", step=type(step).__name__.lower(), kid=kid)

    async def _create(self, connection: Connection, state: State) -> str:
        private = Ed25519PrivateKey.generate()
        jwk = make_jwk(private.public_key())
        sealed = self._seal(private, jwk["kid"])
        await connection.execute(INSERT, jwk["kid"], json.dumps(jwk), sealed, state)
        return jwk["kid"]

    def _seal(self, private: Ed25519PrivateKey, kid: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, private.private_bytes_raw(), kid.encode())

    def _unseal(self, key: StoredKey) -> SigningKey:
        nonce, sealed = key.private_key[:NONCE_BYTES], key.private_key[NONCE_BYTES:]
        try:
            raw = self._cipher.decrypt(nonce, sealed, key.kid.encode())
        except InvalidTag as error:
            raise StartError(
                f"authsvc.master_key does not open the signing key {key.kid}. Give the master key that "
                "sealed it, or delete the rows of private.signing_key: every access token then ends at once."
            ) from error
        return SigningKey(key.kid, Ed25519PrivateKey.from_private_bytes(raw))

    def _open(self, keys: list[StoredKey]) -> KeySet:
        signing = {key.state: self._unseal(key) for key in keys if key.state == "active"}
        coming = tuple(self._unseal(key) for key in keys if key.state == "next")
        jwks = [json.loads(key.public_jwk) for key in keys]
        return KeySet(
            active=signing["active"],
            coming=coming,
            public=public_keys(key.public_jwk for key in keys),
            document=json.dumps({"keys": jwks}, separators=(",", ":")).encode("ascii"),
        )


async def publish_issuer(connection: Connection, *, issuer: str, audience: str) -> None:
    """Tell the database what our tokens say of themselves, and PostgREST to read it again."""
    async with connection.transaction():
        await connection.execute(SET_ISSUER, issuer, audience)
        await connection.execute(TELL_POSTGREST)


def make_jwk(public: Ed25519PublicKey) -> dict[str, str]:
    """The public key as a JWK (RFC 8037); kid is its thumbprint (RFC 7638)."""
    required = OKPAlgorithm.to_jwk(public, as_dict=True)
    thumbprint = hashlib.sha256(json.dumps(required, separators=(",", ":"), sort_keys=True).encode()).digest()
    # Exactly "EdDSA": the newer name "Ed25519" makes PostgREST 12 take the whole set for an HMAC secret.
    kid = base64url_encode(thumbprint).decode("ascii")
    return {**required, "kid": kid, "alg": "EdDSA", "use": "sig"}
