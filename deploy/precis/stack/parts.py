"""The parts of a stack: the command that starts each, and how it says that it is ready. The one list of
them."""

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import aiohttp
import psycopg

from precis.layout import Layout, program
from precis.setup.settings import StackSettings, url
from precis.stack import database
from precis.stack.process import Command, clean_environ
from precis.stack.supervisor import Readiness

POSTGRES, POSTGREST, AUTHSVC = "postgres", "postgrest", "authsvc"
WORK, EVENTS, ENGINE = "listener work", "listener events", "engine"
ORDER = (POSTGRES, POSTGREST, AUTHSVC, WORK, EVENTS, ENGINE)  # as `precis status` lists them

Probe = Callable[[], Awaitable[Readiness]]


def probes(settings: StackSettings, session: aiohttp.ClientSession, superuser_url: str) -> dict[str, Probe]:
    """For each part the question whether it is ready now."""
    return {
        POSTGRES: lambda: _ask_postgres(superuser_url),
        POSTGREST: http(session, settings.postgrest_admin, "ready", settings.postgrest_listen),
        AUTHSVC: http(session, settings.authsvc_admin, "readyz", settings.authsvc_listen),
        WORK: http(session, settings.work_admin, "readyz", ""),
        EVENTS: http(session, settings.events_admin, "readyz", settings.events_listen),
        ENGINE: http(session, settings.engine_admin, "readyz", settings.engine_listen),
    }


def service(layout: Layout, *argv: str, environ: Mapping[str, str] = {}) -> Command:
    """One of our own services, which reads this stack's config.toml."""
    given = {
        **clean_environ(os.environ),
        "PRECIS_CONFIG": str(layout.config),
        "PYTHONUNBUFFERED": "1",
        **environ,
    }
    return Command((program(argv[0]), *argv[1:]), cwd=layout.home, environ=given)


def postgrest(program: Path, conf: Path) -> Command:
    return Command((str(program), str(conf)), cwd=conf.parent, environ=clean_environ(os.environ))


def http(session: aiohttp.ClientSession, admin: str, path: str, listen: str) -> Probe:
    """Asks a part at its admin address; ready, it is found where it listens."""

    async def ask() -> Readiness:
        try:
            async with session.get(f"{url(admin)}/{path}") as answer:
                if answer.status == 200:
                    return Readiness(True, url(listen) if listen else "")
                return Readiness(False, await _why_not(answer))
        except (aiohttp.ClientError, OSError):
            return Readiness(False, "does not answer", answers=False)

    return ask


async def _why_not(answer: aiohttp.ClientResponse) -> str:
    """Which of its checks failed, where the part says so."""
    try:
        details = (await answer.json(content_type=None))["details"]
        return "not ready: " + ", ".join(
            f"{name} {result}" for name, result in details.items() if result != "ok"
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"not ready (HTTP {answer.status})"


async def _ask_postgres(superuser_url: str) -> Readiness:
    """Its silence is never taken for its end: it may be recovering, and is not ours to kill."""
    try:
        version = await database.answers(superuser_url)
        is_open = await database.is_open_to_patterns(superuser_url)
    except psycopg.OperationalError as error:
        _, fatal, reason = str(error).partition("FATAL:")
        return Readiness(False, reason.strip().splitlines()[0] if fatal else "does not answer")
    info = psycopg.conninfo.conninfo_to_dict(superuser_url)
    said = f"PostgreSQL {version} on {info.get('host')}:{info.get('port', 5432)}"
    return Readiness(True, f"{said}; as a superuser run sql/database.sql in it" if is_open else said)
