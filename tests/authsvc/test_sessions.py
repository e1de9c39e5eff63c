"""Refreshing and logging out."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from authsvc.keys.master import MasterKey
from authsvc.refresh import RefreshToken, decode, encode
from tests.authsvc.fix_service import MASTER_KEY, Service, new_email, running
from tests.fix_postgres import Database

pytestmark = pytest.mark.services

SECRET = MasterKey.parse(MASTER_KEY).derive("refresh-mac")
STATE = "select generation, revoked_at is not null, revoke_reason from private.session"


def pass_seconds(service: Service, seconds: int) -> None:
    service.query("update private.session set rotated_at = rotated_at - %s * interval '1 s'", seconds)


def bearer(tokens: Any) -> str:
    return f"Bearer {tokens['access_token']}"


async def test_a_refresh_gives_a_new_pair_for_the_same_session(service: Service) -> None:
    first = await service.register()
    second = await service.refresh(first.json["refresh_token"])
    assert second.status == 200
    assert second.json["refresh_token"] != first.json["refresh_token"]
    changing = ("iat", "exp", "jti")
    assert {name: value for name, value in second.claims.items() if name not in changing} == {
        name: value for name, value in first.claims.items() if name not in changing
    }
    assert second.claims["jti"] != first.claims["jti"]
    assert service.query(STATE) == [(1, False, None)]


async def test_fifty_parallel_uses_of_a_token_rotate_once_and_all_get_the_same_successor(
    service: Service,
) -> None:
    token = (await service.register()).json["refresh_token"]
    service.query("update private.session set idle_expires_at = now() + interval '1 h'")
    answers = await asyncio.gather(*(service.refresh(token) for _ in range(30)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["refresh_token"] for answer in answers}) == 1
    assert service.query(STATE) == [(1, False, None)]
    assert service.query("select idle_expires_at > now() + interval '6 d' from private.session") == [(True,)]


async def test_a_used_token_after_the_grace_ends_the_session_for_both_holders(service: Service) -> None:
    stolen = (await service.register()).json["refresh_token"]
    current = (await service.refresh(stolen)).json["refresh_token"]
    pass_seconds(service, 31)
    answer = await service.refresh(stolen)
    assert (answer.status, answer.code) == (401, "refresh_token_reused")
    assert (await service.refresh(current)).code == "session_revoked"
    assert service.query(STATE) == [(1, True, "refresh_reuse")]
    assert service.query("select count(*) from private.audit where event = 'refresh_reuse'") == [(1,)]


async def test_an_old_token_ends_the_session_even_within_the_grace(service: Service) -> None:
    oldest = token = (await service.register()).json["refresh_token"]
    for _ in range(3):
        token = (await service.refresh(token)).json["refresh_token"]
    assert (await service.refresh(oldest)).code == "refresh_token_reused"
    assert service.query(STATE) == [(3, True, "refresh_reuse")]


async def test_tokens_that_we_have_not_written_change_nothing(service: Service) -> None:
    mine = (await service.register()).json["refresh_token"]
    other = (await service.register()).json["refresh_token"]
    token = decode(mine, SECRET)
    spoiled = [
        "", "x", mine[:-1], mine + "=", mine + "A", mine[:40] + ("A" if mine[40] != "A" else "B") + mine[41:],
        other[:30] + mine[30:], mine[:30] + other[30:], mine.lower(),
        encode(RefreshToken(token.session_id, 1), bytes(32)),
        encode(RefreshToken(UUID(int=7), 0), SECRET),
    ]  # fmt: skip
    before = service.query("select *, xmin::text from private.session order by id")
    for text in spoiled:
        answer = await service.refresh(text)
        assert (answer.status, answer.code) == (401, "refresh_token_invalid"), text
    assert service.query("select *, xmin::text from private.session order by id") == before
    assert (await service.refresh(mine)).status == 200


async def test_a_token_from_the_future_is_refused_and_ends_nothing(service: Service) -> None:
    """The database was restored from a backup that is older than the token."""
    token = decode((await service.register()).json["refresh_token"], SECRET)
    answer = await service.refresh(encode(RefreshToken(token.session_id, 1), SECRET))
    assert (answer.status, answer.code) == (401, "refresh_token_invalid")
    assert service.query(STATE) == [(0, False, None)]


ENDINGS = {
    "update private.session set idle_expires_at = now()": "session_expired",
    "update private.session set expires_at = now()": "session_expired",
    "update private.session set revoked_at = now(), revoke_reason = 'logout'": "session_revoked",
    "update private.account set banned_at = now()": "session_revoked",
    "update private.account set password_changed_at = now() + interval '1 s'": "session_revoked",
    "delete from private.account": "refresh_token_invalid",
}


async def test_a_session_that_has_ended_is_not_refreshed(service: Service) -> None:
    for change, code in ENDINGS.items():
        token = (await service.register()).json["refresh_token"]
        service.query(change)
        answer = await service.refresh(token)
        assert (answer.status, answer.code) == (401, code), change


async def test_one_kind_of_token_is_never_taken_for_the_other(service: Service) -> None:
    tokens = (await service.register()).json
    assert (await service.refresh(tokens["access_token"])).code == "refresh_token_invalid"
    answer = await service.post("/auth/logout", {}, Authorization=f"Bearer {tokens['refresh_token']}")
    assert (answer.status, answer.code) == (401, "invalid_token")
    assert service.query(STATE) == [(0, False, None)]


async def test_refreshing_is_limited_per_session(service: Service) -> None:
    token = (await service.register()).json["refresh_token"]
    other = (await service.register()).json["refresh_token"]
    for _ in range(30):
        token = (await service.refresh(token)).json["refresh_token"]
    assert (await service.refresh(token)).code == "rate_limited"
    assert (await service.refresh(other)).status == 200


LEFT_AFTER: list[tuple[dict[str, str], set[str]]] = [
    ({}, {"second", "third"}),
    ({"scope": "local"}, {"second", "third"}),
    ({"scope": "others"}, {"first"}),
    ({"scope": "global"}, set()),
]


async def test_a_log_out_ends_what_it_says_and_nothing_else(service: Service) -> None:
    stranger = (await service.register()).json["refresh_token"]
    for scope, left in LEFT_AFTER:
        email = new_email()
        tokens = {"first": (await service.register(email)).json["refresh_token"]}
        tokens |= {name: (await service.log_in(email)).json["refresh_token"] for name in ("second", "third")}
        for _ in range(2):  # twice is no error
            answer = await service.post("/auth/logout", {"refresh_token": tokens["first"], **scope})
            assert (answer.status, answer.json) == (204, None)
        alive = {name for name, token in tokens.items() if (await service.refresh(token)).status == 200}
        assert alive == left, scope
    assert (await service.refresh(stranger)).status == 200


async def test_an_access_token_logs_out_as_well_and_twice(service: Service) -> None:
    tokens = (await service.register()).json
    for _ in range(2):
        assert (await service.post("/auth/logout", {}, Authorization=bearer(tokens))).status == 204
    assert (await service.refresh(tokens["refresh_token"])).code == "session_revoked"


async def test_a_session_that_has_ended_cannot_end_others(service: Service) -> None:
    email = new_email()
    dead = (await service.register(email)).json
    alive = (await service.log_in(email)).json
    await service.post("/auth/logout", {"refresh_token": dead["refresh_token"]})
    for scope in ("others", "global"):
        answer = await service.post("/auth/logout", {"refresh_token": dead["refresh_token"], "scope": scope})
        assert answer.status == 204
    assert (await service.refresh(alive["refresh_token"])).status == 200


async def test_who_proves_nothing_cannot_log_anybody_out(service: Service) -> None:
    answer = await service.post("/auth/logout", {})
    assert (answer.status, answer.code) == (401, "refresh_token_invalid")
    answer = await service.post("/auth/logout", {}, Authorization="Bearer nonsense")
    assert (answer.status, answer.code) == (401, "invalid_token")


async def test_without_grace_a_second_use_is_reuse(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path, refresh_grace_seconds=0) as service:
        token = (await service.register()).json["refresh_token"]
        await service.refresh(token)
        assert (await service.refresh(token)).code == "refresh_token_reused"


async def test_sessions_that_ended_a_month_ago_are_removed(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path) as service:
        for _ in range(3):
            await service.register()
        ids = [row[0] for row in service.query("select id from private.session")]
        service.query(
            "update private.session set idle_expires_at = now() - interval '31 d' where id = %s", ids[0]
        )
        revoke = "update private.session set revoked_at = now() - interval '31 d', revoke_reason = 'logout'"
        service.query(f"{revoke} where id = %s", ids[1])
    async with running(database, tmp_path) as service:  # housekeeping starts with the service
        await service.until("select true from private.session having count(*) = 1")
        assert service.query("select id from private.session") == [(ids[2],)]
