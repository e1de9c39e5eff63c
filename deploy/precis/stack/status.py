"""`precis status`: what runs, where it answers, and what is queued. Asks each part now, and trusts no
record but for process ids."""

import asyncio
import json
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp
import psycopg
from rich.text import Text

from precis.layout import Layout
from precis.screen import NAME_WIDTH, Screen
from precis.setup.settings import StackSettings, url, without_secrets
from precis.stack import database, parts
from precis.stack.state import State, is_held

PROBE_SECONDS = 3.0
JOBS = "select gate.request_state(state), count(*) from private.job where kind = 'root' group by 1 order by 1"
WORKERS = """
select w.name, w.lease_until > clock_timestamp(), w.draining,
       (select count(*) from private.job j where j.worker_id = w.id and j.state = 'running')
  from private.worker w order by w.name
"""
MODELS = "select name, engine, context_tokens, available, is_default from public.models order by name"


@dataclass(frozen=True, slots=True)
class PartStatus:
    name: str
    pid: int | None
    ready: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What the database says about the work; empty if it says nothing."""

    queue: dict[str, int] = field(default_factory=dict)
    workers: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)


async def run(layout: Layout, settings: StackSettings, screen: Screen, *, as_json: bool) -> int:
    state = State.read(layout.state) if is_held(layout.lock) else State()
    found = await ask(settings, state)
    contents = await read_contents(settings.owner_url) if found[0].ready else Contents()
    if as_json:
        print(json.dumps(document(settings, state, found, contents), indent=2))
    else:
        show(screen, found, contents, is_up=state.pid != 0)
    return 0 if all(part.ready for part in found) else 1


async def ask(settings: StackSettings, state: State) -> list[PartStatus]:
    """Each part's answer, in the order of parts.ORDER."""
    timeout = aiohttp.ClientTimeout(total=PROBE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        probes = parts.probes(settings, session, settings.owner_url)
        return list(await asyncio.gather(*(_ask(name, probes[name], state) for name in parts.ORDER)))


def document(
    settings: StackSettings, state: State, found: list[PartStatus], contents: Contents
) -> dict[str, Any]:
    """What scripts and outside clients rely on. Additions are free, but for secrets: there is none in it but
    the demo login."""
    return {
        "rest_url": url(settings.postgrest_listen),
        "auth_url": url(settings.authsvc_listen),
        "events_url": url(settings.events_listen),
        "database_url": without_secrets(settings.owner_url),
        "model_url": state.model_url or url(settings.engine_listen),
        "demo_email": settings.demo_email,
        "demo_password": settings.demo_password,
        "parts": [asdict(part) for part in found],
        **asdict(contents),
    }


async def read_contents(owner_url: str) -> Contents:
    """Empty where the schema is not there (yet)."""
    try:
        async with await database.connect(owner_url) as connection:
            queue = await (await connection.execute(JOBS)).fetchall()
            workers = await (await connection.execute(WORKERS)).fetchall()
            models = await (await connection.execute(MODELS)).fetchall()
    except psycopg.Error:
        return Contents()
    return Contents(
        queue={str(state): int(str(count)) for state, count in queue},
        workers=[dict(zip(("name", "alive", "draining", "running"), row, strict=True)) for row in workers],
        models=[
            dict(zip(("name", "engine", "context_tokens", "available", "is_default"), row, strict=True))
            for row in models
        ],
    )


def show(screen: Screen, found: list[PartStatus], contents: Contents, *, is_up: bool) -> None:
    for part in found:
        mark = ("✓", "green") if part.ready else ("✗", "red")
        pid, detail = (f"{part.pid or '':>8}", "dim"), (part.detail, "" if part.ready else "red")
        line = Text.assemble("  ", mark, f" {part.name:<{NAME_WIDTH}}", pid, "  ", detail)
        line.rstrip()
        screen.console.print(line)
    screen.say("")
    if not is_up:
        screen.say("Not running here. Start it with `make up`.")
    elif found[0].ready:
        screen.pairs(_work(contents))


def _work(contents: Contents) -> list[tuple[str, str]]:
    queue = (f"{count} {state}" for state, count in contents.queue.items())
    workers = (f"{worker['name']} ({_worker(worker)})" for worker in contents.workers)
    models = (f"{model['name']} ({_model(model)})" for model in contents.models)
    named = (("requests", queue), ("workers", workers), ("models", models))
    return [(name, ", ".join(items) or "none") for name, items in named]


async def _ask(name: str, probe: parts.Probe, state: State) -> PartStatus:
    record = next((record for record in state.parts if record.name == name), None)
    if name == parts.ENGINE and state.pid and not state.builtin_engine:
        return PartStatus(name, None, True, f"not needed: {state.model_url} has a model")
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            readiness = await probe()
        ready, detail = readiness.ready, readiness.detail
    except TimeoutError:
        ready, detail = False, "does not answer"
    if record is not None and record.pid is None and not ready:
        detail = record.detail or detail
    pid = record.pid if record is not None and record.alive() else None
    return PartStatus(name, pid, ready, detail)


def _worker(worker: dict[str, Any]) -> str:
    if not worker["alive"]:
        return "gone"
    return f"{'draining, ' if worker['draining'] else ''}{worker['running']} running"


def _model(model: dict[str, Any]) -> str:
    words = [
        model["engine"],
        "default" if model["is_default"] else "",
        "" if model["available"] else "not available",
    ]
    return ", ".join(filter(None, words))
