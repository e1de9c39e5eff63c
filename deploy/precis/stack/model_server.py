"""Which model server the stack uses: an Ollama that answers and has a model that writes text, else the
built-in engine. Asks over HTTP; starts nothing."""

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp

from precis.setup.settings import without_secrets

CONNECT_SECONDS = 2.0
ASK_SECONDS = 30.0  # a server that is busy loading a model may be slow to say which it has
PATIENCE = aiohttp.ClientTimeout(total=ASK_SECONDS, sock_connect=CONNECT_SECONDS)


@dataclass(frozen=True, slots=True)
class Ollama:
    url: str
    models: tuple[str, ...]

    @property
    def shown(self) -> str:
        """Its address for people and scripts."""
        return without_secrets(self.url)


async def find_ollama(session: aiohttp.ClientSession, hosts: tuple[str, ...]) -> Ollama | None:
    """The first of these hosts that serves a model."""
    for found in await asyncio.gather(*(_ask(session, host.rstrip("/")) for host in hosts)):
        if found and found.models:
            return found
    return None


async def _ask(session: aiohttp.ClientSession, url: str) -> Ollama | None:
    try:
        tags = await _json(session.get(f"{url}/api/tags", timeout=PATIENCE, allow_redirects=False))
        names = [str(model["name"]) for model in tags.get("models") or ()]
    except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # nothing there, or something that is no Ollama
    writes = await asyncio.gather(*(_writes_text(session, url, name) for name in names))
    return Ollama(url, tuple(name for name, able in zip(names, writes, strict=True) if able))


async def _writes_text(session: aiohttp.ClientSession, url: str, name: str) -> bool:
    """Models that only embed are no use here. Versions that do not say what a model can do are taken at
    their word, and so are servers that are too slow to say it."""
    show = session.post(f"{url}/api/show", json={"model": name}, timeout=PATIENCE, allow_redirects=False)
    try:
        capabilities = (await _json(show)).get("capabilities")
        return capabilities is None or "completion" in capabilities
    except TimeoutError:
        return True
    except (aiohttp.ClientError, OSError, ValueError, TypeError, RecursionError):
        return False


async def _json(call: aiohttp.client._RequestContextManager) -> dict[str, Any]:
    async with call as answer:
        answer.raise_for_status()
        content = await answer.json(content_type=None)
        if not isinstance(content, dict):
            raise ValueError("not an object")
        return content
