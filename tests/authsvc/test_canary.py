"""The proof that PostgREST refuses forged tokens and takes ours, on the real one."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from authsvc import commands
from authsvc.canary import judge_forged, judge_genuine
from tests.authsvc.fix_service import Service, running
from tests.fix_postgres import free_port
from tests.fix_postgrest import Rest

OTHER_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "alg": "EdDSA",
}


@pytest.mark.parametrize(
    ("status", "code", "forged", "genuine"),
    [
        (401, "PGRST301", "refused", "refused"),
        (401, "PGRST303", "taken", "refused"),
        (500, "PGRST300", "refused", "refused"),
        (401, "session_ended", "taken", "taken"),
        (401, "token_invalid", "taken", "taken"),
        (200, "", "taken", "taken"),
        (404, "", "taken", "taken"),
        (503, "PGRST002", "unclear", "unclear"),
        (503, "", "unclear", "unclear"),
    ],
)
def test_what_an_answer_says_of_a_signature(status: int, code: str, forged: str, genuine: str) -> None:
    assert judge_forged(status, code) == forged
    assert judge_genuine(status, code) == genuine


async def canary_shows(service: Service, value: int) -> None:
    async with asyncio.timeout(30):
        while f"\nprecis_auth_canary {value}.0\n" not in await service.metrics():
            await asyncio.sleep(0.05)


def serve_keys(rest: Rest, document: Any) -> None:
    """Give PostgREST other keys than authsvc publishes."""
    rest.query("create table private.document as select %s::text as text", json.dumps(document))
    rest.query("grant select on private.document to precis_definer")
    rest.query(
        "create or replace function gate.pre_config() returns void language sql security definer as"
        " $$ select set_config('pgrst.jwt_secret', text, true) from private.document $$"
    )
    rest.notify("reload config")


@pytest.fixture
def url(rest: Rest) -> str:
    """A real PostgREST without the key that the tests of other parts sign with."""
    rest.query("delete from private.signing_key")
    return f"http://{rest.address}"


@pytest.mark.stack
async def test_it_is_proven_at_start_and_after_a_rotation(rest: Rest, url: str, tmp_path: Path) -> None:
    async with running(rest.database, tmp_path, postgrest_url=url) as service:
        await canary_shows(service, 1)
        assert (await service.ready()).json["checks"]["canary"] == "ok"
        old = (await service.register()).json["access_token"]
        await commands.rotate_keys(service.settings)
        service.query(
            "update private.signing_key set created_at = now() - interval '1 h' where state = 'next'"
        )
        async with asyncio.timeout(30):
            while not service.query("select true from private.signing_key where state = 'retiring'"):
                service.query("notify pgrst, 'reload config'")
                await asyncio.sleep(0.1)
        await canary_shows(service, 1)
        new = (await service.register()).json["access_token"]
        assert [rest.get("/requests", token=token).status for token in (old, new)] == [200, 200]


@pytest.mark.stack
async def test_a_postgrest_that_takes_forged_tokens_is_noticed(rest: Rest, url: str, tmp_path: Path) -> None:
    async with running(rest.database, tmp_path) as first:
        published = await first.read("/.well-known/jwks.json")
    secret = base64.urlsafe_b64encode(published).rstrip(b"=").decode()
    serve_keys(rest, {"keys": [*json.loads(published)["keys"], {"kty": "oct", "k": secret}]})
    async with running(rest.database, tmp_path, postgrest_url=url) as service:
        await canary_shows(service, 0)
        answer = await service.ready()
        assert (answer.status, answer.json["details"]["canary"]) == (503, "failed")


@pytest.mark.stack
async def test_a_postgrest_that_changes_without_our_doing_is_noticed_and_readiness_tells(
    rest: Rest, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authsvc.canary.EVERY_SECONDS", 0.2)
    async with running(rest.database, tmp_path, postgrest_url=url) as service:
        await canary_shows(service, 1)
        published = await service.read("/.well-known/jwks.json")
        secret = base64.urlsafe_b64encode(published).rstrip(b"=").decode()
        serve_keys(rest, {"keys": [*json.loads(published)["keys"], {"kty": "oct", "k": secret}]})
        await canary_shows(service, 0)
        answer = await service.ready()
        assert (answer.status, answer.json["details"]["canary"]) == (503, "failed")


@pytest.mark.stack
async def test_a_postgrest_with_other_keys_is_noticed(
    rest: Rest, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authsvc.canary.RELOAD_SECONDS", 1.0)
    serve_keys(rest, {"keys": [OTHER_KEY]})
    async with running(rest.database, tmp_path, postgrest_url=url) as service:
        await canary_shows(service, 0)
        assert (await service.ready()).status == 503


@pytest.mark.services
async def test_without_an_answer_nothing_is_proven_and_nobody_is_kept_out(
    service: Service, tmp_path: Path
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    async with running(service.database, tmp_path, postgrest_url=nowhere) as unsure:
        await canary_shows(unsure, -1)
        assert (await unsure.ready()).status == 200
