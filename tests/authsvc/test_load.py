"""A flood of log-ins must not take the service from those who are signed in."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.authsvc.fix_service import Service, new_email, running
from tests.fix_postgres import Database

pytestmark = pytest.mark.services

FLOOD_SECONDS = 3.0
PER_SECOND = 200


def p99(durations: list[float]) -> float:
    return sorted(durations)[int(0.99 * len(durations))]


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


async def watch(service: Service, until: float) -> tuple[list[float], list[float]]:
    """How long health and a refresh take meanwhile."""
    healths, refreshes = [], []
    token = (await service.register()).json["refresh_token"]
    while time.monotonic() < until:
        began = time.monotonic()
        async with service.http.get(f"http://{service.settings.admin_listen}/healthz") as response:
            assert response.status == 200
        healths.append(time.monotonic() - began)
        began = time.monotonic()
        answer = await service.refresh(token)
        assert answer.status in (200, 429)
        refreshes.append(time.monotonic() - began)
        token = answer.json.get("refresh_token", token)
        await asyncio.sleep(0.05)
    return healths, refreshes


async def test_a_flood_of_log_ins_is_shed_and_leaves_health_and_refresh_alone(
    database: Database, tmp_path: Path
) -> None:
    async with running(database, tmp_path, bcrypt_cost=10, bcrypt_threads=2) as service:
        until = time.monotonic() + FLOOD_SECONDS
        (healths, refreshes), statuses = await asyncio.gather(watch(service, until), flood(service, until))
    assert set(statuses) == {401, 503}
    print(
        {
            "health": p99(healths),
            "refresh": p99(refreshes),
            "answered": statuses.count(401),
            "n": len(statuses),
        }
    )
    assert p99(healths) < 0.5
    assert p99(refreshes) < 0.5
