"""Opens, wires and closes the service: the only place that knows how its parts are built."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
from aiohttp import web

from authsvc import isolation
from authsvc.accounts import Accounts, Policy
from authsvc.callers import parse_networks
from authsvc.canary import Canary
from authsvc.database import COMMAND_SECONDS, CONNECT_SECONDS, GAVE_UP, borrowed
from authsvc.endpoints.browsers import Browsers
from authsvc.endpoints.sign_in import Endpoints
from authsvc.errors import InvalidBodyError, UnavailableError
from authsvc.hashing import Hasher
from authsvc.housekeeping import keep_house
from authsvc.keys.master import MasterKey
from authsvc.keys.ring import KeyRing, publish_issuer
from authsvc.keys.watch import KeyWatch
from authsvc.limits import Limit, Limits
from authsvc.sessions import Lifetimes, Sessions
from authsvc.settings import BCRYPT_COSTS, Settings, is_loopback
from authsvc.tokens import Issuer
from chassis.admin import admin
from chassis.cors import allow_origins
from chassis.database import Pool, patiently, pool
from chassis.errors import StartError
from chassis.http import application, serve
from chassis.service import Lifecycle

BODY_MAX_BYTES = 16 * 1024
MINUTE_SECONDS = 60
HOUR_SECONDS = 60 * 60


async def main(lifecycle: Lifecycle, settings: Settings) -> None:
    """Serve until told to stop."""
    options = {"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS}
    async with (
        pool(
            settings.database_url, name="authsvc", size=settings.pool_size, waits=True, **options
        ) as database,
        Hasher(threads=settings.bcrypt_threads, cost=settings.bcrypt_cost).running() as hasher,
        asyncio.TaskGroup() as group,
    ):
        service = await _build(settings, database, hasher, later=group.create_task)
        side_tasks = [group.create_task(task) for task in service.side_tasks]
        async with (
            admin(settings.admin_listen, checks=service.checks),
            serve(service.app, settings.listen, name="authsvc") as where,
        ):
            _require_local(where, settings)
            lifecycle.ready(where)
            await lifecycle.stopping.wait()
        for task in side_tasks:
            task.cancel()


@dataclass(frozen=True, slots=True)
class Service:
    """What `main` runs."""

    app: web.Application
    checks: Mapping[str, Callable[[], Awaitable[bool]]]
    side_tasks: list[Coroutine[Any, Any, None]]


async def _build(
    settings: Settings,
    database: Pool,
    hasher: Hasher,
    *,
    later: Callable[[Coroutine[Any, Any, None]], object],
) -> Service:
    master_key = MasterKey.parse(settings.master_key)
    issuer = await patiently(lambda: _prepare(settings, database, master_key))
    limits = Limits(database, master_key.derive("rate-limit-hmac"))
    sessions = Sessions(
        database, limits, secret=master_key.derive("refresh-mac"), lifetimes=_lifetimes(settings)
    )
    accounts = Accounts(
        database,
        sessions,
        hasher=hasher,
        limits=limits,
        policy=_policy(settings),
        audit_key=master_key.derive("audit-hmac"),
        later=later,
    )
    canary = Canary(settings.postgrest_url, issuer) if settings.postgrest_url else None
    return Service(
        app=_application(settings, accounts, sessions, issuer),
        checks=_checks(database, issuer.ring, canary),
        side_tasks=[
            keep_house([limits.prune, sessions.prune]),
            *_key_tasks(settings, database, issuer.ring, canary),
        ],
    )


async def _prepare(settings: Settings, database: Pool, master_key: MasterKey) -> Issuer:
    """The database made ready for us, or a StartError that says why it is not."""
    ring = KeyRing(secret=master_key.derive("sign-wrap"), token_seconds=settings.access_token_seconds)
    async with borrowed(database) as connection:
        await isolation.require_sound(connection)
        await ring.look(connection)
        await publish_issuer(connection, issuer=settings.public_url, audience=settings.audience)
    return Issuer(ring, settings.public_url, settings.audience, settings.access_token_seconds)


def _key_tasks(
    settings: Settings, database: Pool, ring: KeyRing, canary: Canary | None
) -> list[Coroutine[Any, Any, None]]:
    looked = canary.keys_looked_at if canary else lambda: None
    watch = KeyWatch(ring, settings.database_url, database, looked=looked)
    if canary is None:
        return [watch.listen(), watch.look()]
    ring.is_loaded = canary.is_loaded
    return [watch.listen(), watch.look(), canary.watch()]


def _application(
    settings: Settings, accounts: Accounts, sessions: Sessions, issuer: Issuer
) -> web.Application:
    browsers = Browsers.allow(settings.public_url, settings.allowed_origins)
    endpoints = Endpoints(
        accounts=accounts,
        sessions=sessions,
        issuer=issuer,
        ring=issuer.ring,
        browsers=browsers,
        trusted_proxies=parse_networks(settings.trusted_proxies),
    )
    app = application(name="authsvc", max_body_bytes=BODY_MAX_BYTES)
    app.middlewares.append(_translate)
    app.on_response_prepare.append(browsers.add_headers)
    app.add_routes(endpoints.routes())
    allow_origins(app, browsers.origins, credentials=True)
    return app


@web.middleware
async def _translate(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What the database says, in our words."""
    try:
        return await handler(request)
    except GAVE_UP as error:
        raise UnavailableError from error
    except asyncpg.DataError as error:
        message = "Send texts without characters that a database cannot keep."
        raise InvalidBodyError("invalid_field", message) from error


def _checks(
    database: Pool, ring: KeyRing, canary: Canary | None
) -> Mapping[str, Callable[[], Awaitable[bool]]]:
    async def sees_active_key() -> bool:
        async with borrowed(database) as connection:
            return await ring.is_published(connection)

    async def is_isolated() -> bool:
        async with borrowed(database) as connection:
            return await isolation.is_sound(connection)

    async def is_verified_safely() -> bool:
        return canary is None or canary.outcome != "failed"

    return {"signing_key": sees_active_key, "isolation": is_isolated, "canary": is_verified_safely}


def _lifetimes(settings: Settings) -> Lifetimes:
    return Lifetimes(
        idle=timedelta(days=settings.session_idle_days),
        absolute=timedelta(days=settings.session_absolute_days),
        grace_seconds=settings.refresh_grace_seconds,
        per_account=settings.sessions_per_account,
    )


def _policy(settings: Settings) -> Policy:
    return Policy(
        password_min_length=settings.password_min_length,
        logins_per_minute=Limit("login_minute", settings.logins_per_minute, MINUTE_SECONDS),
        logins_per_hour=Limit("login_hour", settings.logins_per_hour, HOUR_SECONDS),
        registrations=Limit("register", settings.registrations_per_hour, HOUR_SECONDS),
    )


def _require_local(where: str, settings: Settings) -> None:
    """A socket that systemd opened may be another than the one the settings name."""
    address = where.removeprefix("http://")
    if settings.bcrypt_cost < BCRYPT_COSTS[0] and not is_loopback(address):
        raise StartError(f"authsvc.bcrypt_cost {settings.bcrypt_cost} is for tests on loopback only.")
