"""The small port: alive, ready, measured."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from chassis import admin as admin_module
from chassis.admin import admin

Check = Callable[[], Awaitable[bool]]
Refresh = Callable[[], Awaitable[object]]


async def good() -> bool:
    return True


async def bad() -> bool:
    return False


async def broken() -> bool:
    raise ConnectionRefusedError("no such host")


async def hung() -> bool:
    await asyncio.Event().wait()
    return True


@asynccontextmanager
async def port(**checks: Check) -> AsyncIterator[aiohttp.ClientSession]:
    async with admin("127.0.0.1:0", checks=checks) as url, aiohttp.ClientSession(url) as session:
        yield session


async def readiness(**checks: Check) -> tuple[int, dict[str, Any]]:
    async with port(**checks) as session, session.get("/readyz") as answer:
        return answer.status, await answer.json()


async def test_a_process_is_alive_even_if_it_is_not_ready() -> None:
    async with port(database=bad) as session, session.get("/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "alive"})


async def test_a_process_is_ready_if_all_its_checks_pass() -> None:
    assert await readiness(database=good, key=good) == (
        200,
        {"status": "ready", "checks": {"database": "ok", "key": "ok"}},
    )


async def test_a_process_that_is_not_ready_says_which_checks_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_module, "CHECK_SECONDS", 0.05)
    status, body = await readiness(a=good, b=bad, c=broken, d=hung)
    assert (status, body["code"]) == (503, "not_ready")
    assert body["details"] == {"a": "ok", "b": "failed", "c": "error", "d": "timeout"}


async def test_checks_are_asked_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    async def meets() -> bool:
        await both.wait()
        return True

    assert (await readiness(a=meets, b=meets))[0] == 200


async def test_the_reason_of_a_check_that_broke_is_in_the_log() -> None:
    with capture_logs() as lines:
        await readiness(database=broken)
    (line,) = [line for line in lines if line["event"] == "admin.check_failed"]
    assert (line["check"], line["error"]) == ("database", "ConnectionRefusedError: no such host")


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [
        ("", "text/plain", "1.0\n"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text", "# EOF\n"),
    ],
)
async def test_metrics_come_in_the_form_that_is_asked_for(accept: str, content_type: str, end: str) -> None:
    registry = CollectorRegistry()
    Counter("precis_things", "Things.", registry=registry).inc()
    async with (
        admin("127.0.0.1:0", checks={}, registry=registry) as url,
        aiohttp.ClientSession(url) as session,
        session.get("/metrics", headers={"Accept": accept}) as answer,
    ):
        text = await answer.text()
        assert answer.content_type == content_type
    assert "precis_things_total 1.0" in text
    assert accept == "" or text.endswith(end)


@asynccontextmanager
async def scraped(refresh: Refresh, registry: CollectorRegistry) -> AsyncIterator[str]:
    async with (
        admin("127.0.0.1:0", checks={}, refresh=refresh, registry=registry) as url,
        aiohttp.ClientSession(url) as session,
        session.get("/metrics") as answer,
    ):
        assert answer.status == 200
        yield await answer.text()


async def test_what_is_to_be_read_is_read_before_the_page_is_made() -> None:
    registry = CollectorRegistry()
    read = Counter("precis_reads", "Reads.", registry=registry)

    async def refresh() -> None:
        await asyncio.sleep(0)
        read.inc()

    async with scraped(refresh, registry) as page:
        assert "precis_reads_total 1.0" in page


@pytest.mark.parametrize("refresh", [broken, hung], ids=["broken", "hung"])
async def test_the_page_comes_although_it_cannot_be_read_or_not_in_time(
    refresh: Refresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_module, "REFRESH_SECONDS", 0.05)
    registry = CollectorRegistry()
    Counter("precis_things", "Things.", registry=registry).inc()
    with capture_logs() as lines:
        async with scraped(refresh, registry) as page:
            assert "precis_things_total 1.0" in page
    assert [line["log_level"] for line in lines if line["event"] == "admin.refresh_failed"] == ["warning"]


async def test_probes_that_go_well_are_only_debug_lines() -> None:
    with capture_logs() as lines:
        async with port() as session:
            for path in ("/healthz", "/readyz", "/metrics"):
                async with session.get(path) as answer:
                    assert answer.status == 200
    requests = [line for line in lines if line["event"] == "http.request"]
    assert [line["log_level"] for line in requests] == ["debug"] * 3
