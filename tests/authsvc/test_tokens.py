"""What an access token says."""

import time
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from authsvc.keys.ring import KeyRing, KeySet, SigningKey
from authsvc.tokens import Issuer, Subject, sign
from chassis.http import ApiError

ACCOUNT, SESSION = UUID(int=1), UUID(int=2)
SUBJECT = Subject(ACCOUNT, SESSION, authenticated_at=1_700_000_000, amr=("pwd",), aal=1)


@pytest.fixture
def key() -> SigningKey:
    return SigningKey("a-key", Ed25519PrivateKey.generate())


@pytest.fixture
def issuer(key: SigningKey) -> Issuer:
    ring = KeyRing(secret=bytes(32), token_seconds=600)
    ring._current = KeySet(key, (), {key.kid: key.private.public_key()}, b"{}")
    return Issuer(ring, "https://auth.example.org", "postgrest", 600)


def test_the_header_is_spelled_as_postgrest_12_needs_it(issuer: Issuer) -> None:
    header = jwt.get_unverified_header(issuer.issue(SUBJECT))
    assert header == {"alg": "EdDSA", "kid": "a-key", "typ": "at+jwt"}


def test_the_claims_are_these_and_no_more(issuer: Issuer) -> None:
    claims = issuer.claims(SUBJECT)
    now = time.time()
    assert now - 2 < claims.pop("iat") <= now
    assert now + 598 < claims.pop("exp") <= now + 600
    assert len(claims.pop("jti")) == 22
    assert claims == {
        "iss": "https://auth.example.org",
        "aud": "postgrest",
        "sub": str(ACCOUNT),
        "sid": str(SESSION),
        "role": "pgrest_auth",
        "amr": ["pwd"],
        "aal": 1,
        "auth_time": 1_700_000_000,
    }


def test_no_two_tokens_are_the_same(issuer: Issuer) -> None:
    assert issuer.issue(SUBJECT) != issuer.issue(SUBJECT)


def test_we_verify_our_own(issuer: Issuer) -> None:
    assert issuer.verify(issuer.issue(SUBJECT)).session == SESSION


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "other"},
        {"aud": ["postgrest"]},
        {"iss": "https://evil.example.org"},
        {"exp": 1},
        {"sid": None},
        {"sub": "x"},
    ],
)
def test_a_token_for_another_purpose_is_refused(
    issuer: Issuer, key: SigningKey, changed: dict[str, object]
) -> None:
    with pytest.raises(ApiError):
        issuer.verify(sign(issuer.claims(SUBJECT) | changed, key))


def test_a_key_that_is_not_ours_is_refused_whatever_it_calls_itself(issuer: Issuer) -> None:
    stranger = SigningKey("a-key", Ed25519PrivateKey.generate())
    with pytest.raises(ApiError):
        issuer.verify(sign(issuer.claims(SUBJECT), stranger))
