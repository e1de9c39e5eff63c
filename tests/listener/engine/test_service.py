"""The engine as a service: ready, measured, stopped."""

import asyncio
from pathlib import Path

from aiohttp import ClientSession

from chassis.service import Lifecycle
from listener.engine.service import main
from listener.engine.settings import EngineSettings


def _settings(folder: Path) -> EngineSettings:
    return EngineSettings("info", "json", f"unix:{folder}/engine", f"unix:{folder}/admin", 1, 20.0, 512)


class _Observed(Lifecycle):
    def __init__(self) -> None:
        super().__init__()
        self.is_ready = asyncio.Event()

    def ready(self, status: str = "") -> None:
        self.is_ready.set()


async def test_it_says_when_it_is_ready_answers_and_stops(tmp_path: Path) -> None:
    lifecycle = _Observed()
    async with asyncio.TaskGroup() as group:
        group.create_task(main(lifecycle, _settings(tmp_path)))
        await lifecycle.is_ready.wait()
        assert "extractive" in await _ask(tmp_path / "engine", "/api/version")
        assert "ready" in await _ask(tmp_path / "admin", "/readyz")
        assert "precis_engine_calls_total" in await _ask(tmp_path / "admin", "/metrics")
        lifecycle.stopping.set()


async def _ask(socket: Path, path: str) -> str:
    from aiohttp import UnixConnector

    async with (
        ClientSession(connector=UnixConnector(str(socket))) as session,
        session.get(f"http://x{path}") as answer,
    ):
        assert answer.status == 200
        return await answer.text()
