"""A flood of log-ins must not take the service from those who are signed in.

Medians, since tests share their processors; on a quiet machine the same goals hold for the p99.
"""

import asyncio
import time
from pathlib import Path
from statistics import median

import pytest

from tests.authsvc.fix_service import Service, new_email, running_process
from tests.fix_postgres import Database

pytestmark = pytest.mark.services

FLOOD_SECONDS = 3.0
PER_SECOND = 200


async def flood(service: Service, until: float) -> list[int]:
    """Log-ins at a steady rate, whether they are answered or not."""
    statuses = []

    async def one() -> None:
        statuses.append((await service.log_in(new_email(), "wrong")).status)

    async with asyncio.TaskGroup() as group:
        while time.monotonic() < until:
            group.create_task(one())
            await asyncio.sleep(1 / PER_SECOND)
    return statuses


async def watch(service: Service, tokens: list[str], until: float) -> tuple[float, float]:
    """How long health and a refresh take in the middle; the sessions take turns, each is limited."""
    healths, refreshes = [], []
    while time.monotonic() < until:
        began = time.monotonic()
        async with service.http.get(f"http://{service.settings.admin_listen}/healthz") as response:
            assert response.status == 200
        healths.append(time.monotonic() - began)
        began = time.monotonic()
        answer = await service.refresh(tokens.pop(0))
        assert answer.status == 200, answer
        refreshes.append(time.monotonic() - began)
        tokens.append(answer.json["refresh_token"])
        await asyncio.sleep(0.03)
    return median(healths), median(refreshes)


async def test_a_flood_of_log_ins_is_shed_and_leaves_health_and_refresh_alone(
    database: Database, tmp_path: Path
) -> None:
    async with running_process(database, tmp_path, bcrypt_cost=10, bcrypt_threads=2) as service:
        tokens = [(await service.register()).json["refresh_token"] for _ in range(8)]
        until = time.monotonic() + FLOOD_SECONDS
        (health, refresh), statuses = await asyncio.gather(
            watch(service, tokens, until), flood(service, until)
        )
    assert statuses.count(503) > statuses.count(401) > 0
    assert health < 0.05
    assert refresh < 0.25
