"""The key set, and what all answers have in common."""

import asyncio
import json

import jwt
import pytest
from aiohttp import hdrs

from tests.authsvc.fix_service import Service

pytestmark = pytest.mark.services

JWKS = "/.well-known/jwks.json"


async def test_the_key_set_has_public_members_only(service: Service) -> None:
    answer = await service.get(JWKS)
    assert answer.status == 200
    assert set(answer.json) == {"keys"}
    (key,) = answer.json["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "alg", "use"}
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")


async def test_the_key_set_may_be_cached_and_asked_for_again(service: Service) -> None:
    answer = await service.get(JWKS)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "public, max-age=30"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    again = await service.get(JWKS, If_None_Match=answer.headers[hdrs.ETAG])
    assert (again.status, again.json) == (304, None)
    assert again.headers["ETag"] == answer.headers["ETag"]
    assert (await service.get(JWKS, If_None_Match='"another"')).status == 200


async def test_the_served_keys_verify_our_tokens(service: Service) -> None:
    keys = jwt.PyJWKSet.from_json(json.dumps((await service.get(JWKS)).json))
    token = (await service.register()).json["access_token"]
    kid = jwt.get_unverified_header(token)["kid"]
    jwt.decode(token, keys[kid], algorithms=["EdDSA"], audience="postgrest", issuer=service.url)


async def test_a_key_change_is_seen_at_once_by_the_running_service(service: Service) -> None:
    before = (await service.get(JWKS)).headers["ETag"]
    service.query("delete from private.signing_key")
    service.query("notify pgrst, 'reload config'")
    await service.until("select true from private.signing_key")
    async with asyncio.timeout(20):
        while (await service.get(JWKS)).headers["ETag"] == before:
            await asyncio.sleep(0.02)
    assert (await service.ready()).status == 200


async def test_there_is_nothing_elsewhere(service: Service) -> None:
    for path in ("/", "/auth", "/auth/", "/auth/nothing", "/metrics", "/auth/login/"):
        answer = await service.get(path)
        assert (answer.status, answer.code) == (404, "not_found"), path


async def test_odd_headers_do_no_harm(service: Service) -> None:
    odd = "\"><script>alert('1')</script> \u00e9\u00ff %0d%0a {0} $1 '--"
    answer = await service.post(
        "/auth/register",
        {"email": "ada@example.org", "password": "velvet harbour quiet nine"},
        User_Agent=odd,
        X_Forwarded_For="nonsense, 10.1.1.1",
        X_Forwarded_Host="evil.example.org",
        X_Request_Id="not\tan id",
        Host="evil.example.org",
    )
    assert answer.status == 201
    assert answer.claims["iss"] == service.url
    (agent,) = service.query("select user_agent from private.session")[0]
    assert agent.startswith("\"><script>alert('1')</script> ")
    assert agent.isascii()
