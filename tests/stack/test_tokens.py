"""Tokens that are forged, old, for somebody else or of a session that has ended: refused by PostgREST and by the
event streams alike; and a broken key set lets nobody in."""

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from psycopg.types.json import Jsonb

from tests.fix_stack import LOOK_AGAIN_SECONDS, Stack, running_stack
from tests.fix_postgres import Database
from tests.fix_tokens import Key
from tests.stack.client import Answer, Client, story

pytestmark = pytest.mark.stack


def claims_of(client: Client) -> dict[str, Any]:
    return dict(jwt.decode(client.token or "", options={"verify_signature": False}))


def changed(claims: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (claims | changes).items() if value is not None}


async def both(client: Client, token: str) -> list[Answer]:
    """The token at PostgREST and at the event streams."""
    rest = await client.rest("GET", "/requests", token=token)
    return [rest, await client.call("POST", f"{client.events_url}/events/ticket", token=token)]


@pytest.fixture
def key(stack: Stack) -> Key:
    """A second good key of this stack, so that a test can sign what authsvc never would."""
    key = Key()
    stack.query(
        "insert into private.signing_key (kid, public_jwk, private_key, state, retired_at)"
        " values (%s, %s, 'none', 'retiring', now())", key.jwk["kid"], Jsonb(key.jwk),
    )  # fmt: skip
    stack.query("notify pgrst, 'reload config'")
    return key
