"""A process's own small port: is it alive, is it ready, what does it measure.

Knows the checks only by name.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import structlog
from aiohttp import hdrs, web
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

from chassis.database import told
from chassis.errors import ApiError
from chassis.http import SEVERITY, application
from chassis.serving import serve

CHECK_SECONDS = 2.0
REFRESH_SECONDS = 2.0

Check = Callable[[], Awaitable[bool]]
Refresh = Callable[[], Awaitable[object]]

log = structlog.get_logger()


async def _nothing() -> None:
    """What most processes have to do before a scrape."""


@asynccontextmanager
async def admin(
    address: str,
    *,
    checks: Mapping[str, Check],
    refresh: Refresh = _nothing,
    registry: CollectorRegistry = REGISTRY,
) -> AsyncIterator[str]:
    """Serve /healthz, /readyz (503 names what failed) and /metrics on `address`; yields its URL.

    `refresh` is awaited before each page of metrics, not for long; if it fails, the page tells what it can.
    """

    async def ready(_request: web.Request) -> web.Response:
        results = await asyncio.gather(*(_ask(name, check) for name, check in checks.items()))
        return _readiness(dict(zip(checks, results, strict=True)))

    async def metrics(request: web.Request) -> web.Response:
        await _refresh(refresh)
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=encode(registry), headers={hdrs.CONTENT_TYPE: content_type})

    app = application(name="admin", max_body_bytes=1024)
    app[SEVERITY] = logging.DEBUG  # probes and scrapes come every few seconds
    app.add_routes([web.get("/healthz", _alive), web.get("/readyz", ready), web.get("/metrics", metrics)])
    async with serve(app, address, name="admin") as url:
        yield url


async def _alive(_request: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


def _readiness(results: dict[str, str]) -> web.Response:
    if all(result == "ok" for result in results.values()):
        return web.json_response({"status": "ready", "checks": results})
    message = "Not ready; details says which check failed."
    raise ApiError(503, "not_ready", message, details=results)


async def _refresh(refresh: Refresh) -> None:
    try:
        async with asyncio.timeout(REFRESH_SECONDS):
            await refresh()
    except Exception as error:
        log.warning("admin.refresh_failed", error=told(error))


async def _ask(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return "ok" if await check() else "failed"
    except TimeoutError:
        return "timeout"
    except Exception as error:
        log.warning("admin.check_failed", check=name, error=told(error))
        return "error"
