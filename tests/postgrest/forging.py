"""Tokens that no library would make, and what a forger knows of our keys."""

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import serialization

from tests.fix_postgrest import Rest
from tests.fix_tokens import Key


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def assembled(header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token that no library would make."""
    content = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    return f"{content}.{base64url(sign(content.encode()))}"


def hs256(secret: bytes, claims: dict[str, Any], **header: Any) -> str:
    return assembled(
        {"alg": "HS256", "typ": "JWT"} | header,
        claims,
        lambda content: hmac.digest(secret, content, "sha256"),
    )


def read(api: Rest, token: str) -> tuple[int, str | None]:
    return api.get("/requests", token=token).error


def public_texts(key: Key) -> list[bytes]:
    """Everything about the key set that the world knows, in the ways it may be written down."""
    pem = key.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    documents = [
        json.dumps(value, separators=separators, sort_keys=order)
        for value in ({"keys": [key.jwk]}, [key.jwk], key.jwk)
        for separators in ((",", ":"), (", ", ": "), (", ", " : "))
        for order in (False, True)
    ]
    raw = key.private.public_key().public_bytes_raw()
    return [
        pem,
        pem.strip(),
        base64.b64encode(pem),
        raw,
        key.jwk["x"].encode(),
        b"",
        *(text.encode() for text in documents),
    ]
