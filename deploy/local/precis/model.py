"""Which model server the stack uses: an Ollama that answers and has a model that writes text, else the
built-in engine. Asks over HTTP; starts nothing."""

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp

ASK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Ollama:
    url: str
    models: tuple[str, ...]


async def find_ollama(session: aiohttp.ClientSession, hosts: tuple[str, ...]) -> Ollama | None:
    """The first of these hosts that serves a model."""
    for found in await asyncio.gather(*(_ask(session, host.rstrip("/")) for host in hosts)):
        if found and found.models:
            return found
    return None


async def _ask(session: aiohttp.ClientSession, url: str) -> Ollama | None:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            tags = await _json(session.get(f"{url}/api/tags"))
            names = [str(model["name"]) for model in tags.get("models") or ()]
            writes = await asyncio.gather(*(_writes_text(session, url, name) for name in names))
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError, AttributeError):
        return None  # nothing there, or something that is no Ollama
    return Ollama(url, tuple(name for name, able in zip(names, writes, strict=True) if able))


async def _writes_text(session: aiohttp.ClientSession, url: str, name: str) -> bool:
    """Models that only embed are no use here. Versions that do not say what a model can do are taken at
    their word."""
    shown = await _json(session.post(f"{url}/api/show", json={"model": name}))
    return "completion" in shown.get("capabilities", ["completion"])


async def _json(call: aiohttp.client._RequestContextManager) -> dict[str, Any]:
    async with call as answer:
        answer.raise_for_status()
        content = await answer.json(content_type=None)
        if not isinstance(content, dict):
            raise ValueError("not an object")
        return content
