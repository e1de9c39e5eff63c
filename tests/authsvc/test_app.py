"""The service as a whole: a database that goes away, a stop, a wrong start."""

import asyncio
import time
from pathlib import Path

import psycopg
import pytest

from chassis.errors import StartError
from tests.authsvc.fix_service import GOOD_PASSWORD, Service, running
from tests.fix_postgres import Cluster, Database

pytestmark = pytest.mark.services


async def test_without_a_database_it_says_so_quickly_and_recovers_by_itself(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    async with running(Database(own_cluster, "precis"), tmp_path) as service:
        tokens = (await service.register("ada@example.org")).json
        await asyncio.to_thread(own_cluster.stop, "immediate")
        began = time.monotonic()
        for path, body in (
            ("/auth/login", {"email": "ada@example.org", "password": GOOD_PASSWORD}),
            ("/auth/register", {"email": "eve@example.org", "password": GOOD_PASSWORD}),
            ("/auth/refresh", {"refresh_token": tokens["refresh_token"]}),
            ("/auth/logout", {"refresh_token": tokens["refresh_token"]}),
        ):
            answer = await service.post(path, body)
            assert (answer.status, answer.code) == (503, "unavailable"), path
            assert answer.headers["Retry-After"]
        assert time.monotonic() - began < 4 * 2.5
        assert (await service.get("/.well-known/jwks.json")).status == 200
        assert (await service.ready()).status == 503
        await asyncio.to_thread(own_cluster.start)
        async with asyncio.timeout(30):
            while (await service.ready()).status != 200:
                await asyncio.sleep(0.1)
        assert (await service.refresh(tokens["refresh_token"])).status == 200
        assert (await service.log_in("ada@example.org")).status == 200
        # The watch of the keys has come back as well.
        service.query("delete from private.signing_key")
        service.query("notify pgrst, 'reload config'")
        await service.until("select true from private.signing_key")


async def test_when_the_database_is_stuck_requests_are_refused_soon(
    database: Database, tmp_path: Path
) -> None:
    async with running(database, tmp_path, pool_size=2) as service:
        with psycopg.connect(database.url()) as blocker:
            # Not in this loop, in which the service may just be using the table.
            await asyncio.to_thread(blocker.execute, "lock table private.rate_bucket")
            began = time.monotonic()
            answers = await asyncio.gather(*(service.log_in("ada@example.org") for _ in range(8)))
            assert time.monotonic() - began < 6
            assert {(answer.status, answer.code) for answer in answers} == {(503, "unavailable")}
            blocker.rollback()
        assert (await service.log_in("ada@example.org")).status == 401


async def test_a_stop_answers_what_is_on_its_way(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path, bcrypt_cost=12, bcrypt_threads=1) as service:
        registering = asyncio.create_task(service.register())
        async with asyncio.timeout(20):
            while "precis_auth_hashes_pending 1.0" not in await service.metrics():
                await asyncio.sleep(0.01)
        service.lifecycle.stopping.set()
        assert (await registering).status == 201


async def test_a_database_that_another_master_key_has_sealed_is_not_served(
    service: Service, tmp_path: Path
) -> None:
    other = "Qk9Xw2bN8rT5yU1iO4pA7sD0fG3hJ6kLqWeRtYuIoPM"
    with pytest.raises(ExceptionGroup) as refused:
        async with running(service.database, tmp_path, master_key=other):
            pass
    assert refused.group_contains(StartError, match="master_key")


async def test_a_start_tells_the_database_its_issuer_and_audience(service: Service) -> None:
    rows = service.query("select issuer, audience from private.token_issuer")
    assert rows == [(service.settings.public_url, "postgrest")]


async def test_two_processes_share_accounts_keys_and_limits(service: Service, tmp_path: Path) -> None:
    async with running(service.database, tmp_path) as second:
        tokens = (await service.register("ada@example.org")).json
        assert (await second.log_in("ada@example.org")).status == 200
        assert (await second.refresh(tokens["refresh_token"])).status == 200
        keys = "/.well-known/jwks.json"
        assert (await service.get(keys)).json == (await second.get(keys)).json
