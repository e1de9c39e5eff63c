"""Verifying tokens: ours are taken, and every known way to forge or stretch one is refused."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chassis.bearer import Claims, Verifier, public_keys
from chassis.errors import ApiError

ISSUER = "https://auth.example.org"
OURS, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
KEYS = {"k1": OURS.public_key(), "k2": Ed25519PrivateKey.generate().public_key()}
VERIFIER = Verifier(KEYS, issuer=ISSUER, audience="postgrest")
SUBJECT, SESSION = uuid4(), uuid4()
RAW_KEY = OURS.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
PEM = OURS.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
JWKS = json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1"}]}).encode()


DAY = 24 * 60 * 60  # tokens are sealed when the tests are collected: longer than any run of them takes


def claims(**changes: Any) -> dict[str, Any]:
    """What authsvc puts into a token; a change to None leaves the claim out."""
    now = int(time.time())
    made = {
        "iss": ISSUER,
        "sub": str(SUBJECT),
        "aud": "postgrest",
        "exp": now + DAY,
        "iat": now,
        "jti": "j",
        "sid": str(SESSION),
        "role": "pgrest_auth",
    } | changes
    return {name: value for name, value in made.items() if value is not None}


def header(**changes: Any) -> dict[str, Any]:
    made = {"alg": "EdDSA", "kid": "k1", "typ": "at+jwt"} | changes
    return {name: value for name, value in made.items() if value is not None}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sealed(head: Any, body: Any, sign: Callable[[bytes], bytes] = OURS.sign) -> str:
    """A token of any content, signed as given; bytes are taken as they are."""
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, body))
    signed = ".".join(map(b64, parts))
    return f"{signed}.{b64(sign(signed.encode()))}"


def hmac(key: bytes) -> Callable[[bytes], bytes]:
    import hashlib
    from hmac import digest

    return lambda message: digest(key, message, hashlib.sha256)


def refusal(token: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        VERIFIER.verify(token)
    return caught.value


def test_keys_are_read_from_their_jwks() -> None:
    """The key and the thumbprint of RFC 8037, appendix A."""
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "a", "alg": "EdDSA", "use": "sig"}
    [(kid, key)] = public_keys([json.dumps(jwk)]).items()
    raw = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert (kid, key.public_bytes_raw().hex()) == ("a", raw)


def test_a_token_of_ours_is_taken_with_its_claims() -> None:
    raw = claims()
    assert VERIFIER.verify(sealed(header(), raw)) == Claims(SUBJECT, SESSION, raw["exp"], "pgrest_auth", raw)


def test_tokens_as_pyjwt_makes_them_are_taken() -> None:
    token = jwt.encode(claims(), OURS, algorithm="EdDSA", headers={"kid": "k1", "typ": "at+jwt"})
    assert VERIFIER.verify(token).subject == SUBJECT


def test_a_clock_that_is_a_little_off_is_forgiven() -> None:
    now = int(time.time())
    VERIFIER.verify(sealed(header(), claims(exp=now - 3)))
    VERIFIER.verify(sealed(header(), claims(iat=now + 3)))


def test_an_expired_token_has_a_code_of_its_own() -> None:
    error = refusal(sealed(header(), claims(exp=int(time.time()) - 6)))
    assert (error.status, error.code) == (401, "token_expired")
    assert error.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token", error_description="')


def test_an_expired_token_that_is_forged_is_just_not_valid() -> None:
    assert refusal(sealed(header(), claims(exp=1), OTHER.sign)).code == "invalid_token"


def test_keys_may_come_and_go_while_the_verifier_lives() -> None:
    keys = {"k1": OURS.public_key()}
    verifier, token = Verifier(keys, issuer=ISSUER, audience="postgrest"), sealed(header(), claims())
    verifier.verify(token)
    del keys["k1"]
    with pytest.raises(ApiError):
        verifier.verify(token)


GOOD = sealed(header(), claims())
SIGNATURE = GOOD.rpartition(".")[2]
FORGED = {
    "signed by somebody else": sealed(header(), claims(), OTHER.sign),
    "signed with another key of ours": sealed(header(kid="k2"), claims()),
    "an unknown kid": sealed(header(kid="k9"), claims()),
    "no kid": sealed(header(kid=None), claims()),
    "a kid that is no text": sealed(header(kid=["k1"]), claims()),
    "a key brought along": sealed(
        header(kid="own", jwk={"kty": "OKP", "crv": "Ed25519", "x": b64(RAW_KEY)}), claims(), OTHER.sign
    ),
    "an address of keys": sealed(header(kid="own", jku="https://evil.example"), claims(), OTHER.sign),
    "alg none": sealed(header(alg="none"), claims(), lambda _: b""),
    "alg nOnE": sealed(header(alg="nOnE"), claims(), lambda _: b""),
    "an empty signature": sealed(header(), claims(), lambda _: b""),
    "RFC 9864's name": sealed(header(alg="Ed25519"), claims()),
    "no alg": sealed(header(alg=None), claims()),
    "HS256 with the raw key": sealed(header(alg="HS256"), claims(), hmac(RAW_KEY)),
    "HS256 with the PEM": sealed(header(alg="HS256"), claims(), hmac(PEM)),
    "HS256 with the JWKS": sealed(header(alg="HS256"), claims(), hmac(JWKS)),
    "an id token": sealed(header(typ="JWT"), claims()),
    "no typ": sealed(header(typ=None), claims()),
    "a critical extension": sealed(header(crit=["x"], x=1), claims()),
    "a detached payload": sealed(header(crit=["b64"], b64=False), b""),
    "no exp": sealed(header(), claims(exp=None)),
    "no iat": sealed(header(), claims(iat=None)),
    "no sub": sealed(header(), claims(sub=None)),
    "no sid": sealed(header(), claims(sid=None)),
    "no role": sealed(header(), claims(role=None)),
    "no iss": sealed(header(), claims(iss=None)),
    "another iss": sealed(header(), claims(iss=ISSUER + "/")),
    "no aud": sealed(header(), claims(aud=None)),
    "another aud": sealed(header(), claims(aud="other")),
    "a list of auds with ours": sealed(header(), claims(aud=["postgrest", "other"])),
    "ours in a list": sealed(header(), claims(aud=["postgrest"])),
    "an empty list of auds": sealed(header(), claims(aud=[])),
    "iat in the future": sealed(header(), claims(iat=int(time.time()) + 3600)),
    "nbf in the future": sealed(header(), claims(nbf=int(time.time()) + 3600)),
    "a sub that is no uuid": sealed(header(), claims(sub="admin")),
    "a sub that is a number": sealed(header(), claims(sub=7)),
    "a sid that is no uuid": sealed(header(), claims(sid="x")),
    "an exp that is a fraction": sealed(header(), claims(exp=time.time() + DAY)),
    "an exp that is a text": sealed(header(), claims(exp="9999999999")),
    "an exp without end": sealed(header(), json.dumps(claims(exp=float("inf"))).encode()),
    "a role that is a list": sealed(header(), claims(role=["pgrest_auth"])),
    "claims that are a list": sealed(header(), ["sub"]),
    "claims nested without end": sealed(header(), b"[" * 2800),
    "a header nested without end": sealed(b"[" * 2800, claims()),
    "a header that is a list": sealed(["alg"], claims()),
    "claims that are no text": sealed(header(), b"\xff\xfe"),
    "too long by padding": sealed(header(), claims(pad="x" * 4096)),
    "nothing": "",
    "dots": "..",
    "two parts": GOOD.rpartition(".")[0],
    "four parts": GOOD + ".x",
    "a flipped bit": GOOD[:-10] + ("A" if GOOD[-10] != "A" else "B") + GOOD[-9:],
    "a signature cut short": GOOD[:-4],
    "a signature with padding": GOOD + "==",
    "another header over our signature": b64(json.dumps(header(kid="k2")).encode()) + GOOD[GOOD.index(".") :],
    "not ascii": GOOD[:-1] + "é",
    "half of a surrogate pair": GOOD[:-1] + "\ud800",
    "a line break": GOOD + "\n",
    "a space": " " + GOOD,
}  # fmt: skip


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
def test_a_forged_stretched_or_broken_token_is_refused(token: str) -> None:
    error = refusal(token)
    assert (error.status, error.code) == (401, "invalid_token")
    assert error.headers["WWW-Authenticate"].startswith("Bearer ")


def test_claims_hold_uuids() -> None:
    assert isinstance(VERIFIER.verify(GOOD).subject, UUID)
