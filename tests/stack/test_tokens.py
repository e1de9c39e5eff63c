"""Tokens that are forged, old, for somebody else or of a session that has ended: refused by PostgREST and by
the event streams alike; and a broken key set lets nobody in."""

import asyncio
import time
from typing import Any

import jwt
import pytest
from psycopg.types.json import Jsonb

from authsvc.canary import forge
from tests.fix_stack import Stack
from tests.fix_tokens import Key
from tests.part import LOOK_AGAIN_SECONDS
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


@pytest.fixture(scope="module")
def key(stack: Stack) -> Key:
    """A second good key of this stack, so that a test can sign what authsvc never would."""
    key = Key()
    stack.query(
        "insert into private.signing_key (kid, public_jwk, private_key, state, retired_at)"
        " values (%s, %s, 'none', 'retiring', now())", key.jwk["kid"], Jsonb(key.jwk),
    )  # fmt: skip
    stack.query("notify pgrst, 'reload config'")
    return key


async def accepted(client: Client, token: str) -> None:
    """Waits until both take the token: keys travel by notification."""
    async with asyncio.timeout(10):
        while {answer.status for answer in await both(client, token)} - {200, 201}:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


WRONG: dict[str, dict[str, Any]] = {
    "has expired": {"iat": int(time.time()) - 700, "exp": int(time.time()) - 100},
    "never expires": {"exp": None},
    "names no audience": {"aud": None},
    "is for another audience": {"aud": "somebody"},
    "is of another issuer": {"iss": "https://issuer.example"},
    "names no subject": {"sub": None},
    "has a subject that is no account": {"sub": "00000000-0000-4000-8000-000000000000"},
    "has a subject that is no id": {"sub": "root"},
    "names no session": {"sid": None},
    "is of a session that never was": {"sid": "00000000-0000-4000-8000-000000000000"},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
async def test_a_token_is_refused_if_it(stack: Stack, key: Key, changes: dict[str, Any]) -> None:
    async with stack.sign_up() as ada:
        claims = claims_of(ada)
        await accepted(ada, key.sign(claims))
        answers = await both(ada, key.sign(changed(claims, **changes)))
    assert [answer.status for answer in answers] == [401, 401], answers


async def test_a_token_cannot_raise_itself_to_another_role(stack: Stack, key: Key) -> None:
    async with stack.sign_up() as ada:
        claims = claims_of(ada)
        await accepted(ada, key.sign(claims))
        for role in ("postgres", "authsvc", "listener", "precis_owner", "authenticator"):
            answers = await both(ada, key.sign(changed(claims, role=role)))
            assert {answer.status for answer in answers} <= {401, 403}, (role, answers)


async def test_forged_tokens_are_refused(stack: Stack) -> None:
    async with stack.sign_up() as ada:
        published = await ada.auth("GET", "/.well-known/jwks.json")
        kid = published.json["keys"][0]["kid"]
        foreign = jwt.encode(claims_of(ada), Key().private, algorithm="EdDSA", headers={"kid": kid})
        unsigned = jwt.encode(claims_of(ada), "", algorithm="none")
        from_published = forge(claims_of(ada), published.text.encode())
        for token in (foreign, unsigned, from_published, f"{ada.token}x", "x.y.z"):
            answers = await both(ada, token)
            assert [answer.status for answer in answers] == [401, 401], (token, answers)


async def test_a_logout_ends_rest_and_stream_within_the_second(stack: Stack) -> None:
    async with stack.sign_up() as ada, ada.watch() as events:
        await events.state((await ada.insert(story(5)))["id"], "done")
        answer = await ada.auth("POST", "/auth/logout", json={})
        refused = await both(ada, ada.token or "")
        await events.closed(within=2)
    assert answer.status == 204
    assert [answer.status for answer in refused] == [401, 401]
    assert refused[0].code == "session_ended"


async def test_another_session_of_the_same_person_outlives_a_logout(stack: Stack) -> None:
    async with stack.sign_up() as ada:
        body = {"email": ada.email, "password": ada.password}
        other = (await ada.auth("POST", "/auth/login", json=body)).json["access_token"]
        await ada.auth("POST", "/auth/logout", json={})
        assert (await ada.rest("GET", "/requests", token=other)).status == 200


async def test_a_broken_key_set_lets_nobody_in(breakable_stack: Stack) -> None:
    async with breakable_stack.sign_up() as ada:
        published = (await ada.auth("GET", "/.well-known/jwks.json")).text
        forgery = forge(claims_of(ada), published.encode())
        good = breakable_stack.query("select pg_get_functiondef('gate.pre_config()'::regprocedure)")[0][0]
        breakable_stack.query(TRUNCATED)
        breakable_stack.query("notify pgrst, 'reload config'")
        await becomes(ada, 401)
        assert (await ada.rest("GET", "/requests", token=forgery)).status == 401
        breakable_stack.query(good)
        breakable_stack.query("notify pgrst, 'reload config'")
        await becomes(ada, 200)


# Cut off in the middle, as a file that was not replaced in one step. The random member makes it worthless.
TRUNCATED = """
create or replace function gate.pre_config() returns void
  language plpgsql security definer set search_path = '' as $$
begin
  perform set_config('pgrst.jwt_secret', left(jsonb_build_object(
      'x-pad', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''),
      'keys', (select jsonb_agg(k.public_jwk) from private.signing_key k))::text, -20), true);
  perform set_config('pgrst.jwt_aud', i.audience, true) from private.token_issuer i;
end $$
"""


async def becomes(client: Client, status: int) -> None:
    async with asyncio.timeout(10):
        while (await client.rest("GET", "/requests")).status != status:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
