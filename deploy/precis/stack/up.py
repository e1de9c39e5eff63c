"""`precis up`, and a stack for the length of one job (`precis demo`): what is said while it starts and
stops."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from precis.client.api import Client
from precis.layout import Layout
from precis.screen import Screen
from precis.stack.lifecycle import Stack, running


async def run(layout: Layout, screen: Screen) -> int:
    """Stays until a signal; that is how it is meant to end, so it is no failure."""
    async with _announced(layout, screen) as stack:
        _introduce(stack, layout, screen)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 0
    return 0


async def run_once(layout: Layout, screen: Screen, job: Callable[[Client], Awaitable[None]]) -> None:
    async with _announced(layout, screen) as stack:
        await job(stack.client)


@asynccontextmanager
async def _announced(layout: Layout, screen: Screen) -> AsyncIterator[Stack]:
    began = time.monotonic()
    screen.say(f"Starting Precis (logs in {layout.shown(layout.logs)})", "bold")
    stopping = began
    try:
        async with running(layout, screen) as stack:
            screen.say(f"Up after {time.monotonic() - began:.1f} s", "bold")
            try:
                yield stack
            finally:
                stopping = time.monotonic()
                screen.say("\nStopping")
    finally:
        if stopping != began:
            screen.note(f"stopped after {time.monotonic() - stopping:.1f} s")


def _introduce(stack: Stack, layout: Layout, screen: Screen) -> None:
    where = stack.client.addresses
    database = urlsplit(stack.settings.owner_url)
    model = (
        f"Ollama at {stack.ollama.shown}"
        if stack.ollama
        else "built-in engine (no Ollama with a model answers)"
    )
    screen.say("")
    screen.pairs(
        [
            ("REST", where.rest),
            ("sign-in", where.auth),
            ("events", where.events),
            ("models", model),
            (
                "database",
                f"{database.hostname}:{database.port}{database.path} (owner's address: {layout.dotenv.name})",
            ),
            ("demo login", f"{stack.client.account.email}  {stack.client.account.password}"),
        ]
    )
    screen.say("\n  .venv/bin/precis summarize FILE   in another terminal")
    screen.say("  Ctrl-C                            stops everything")
