"""`python -m tests.scripted_engine FILE`: as `listener engine` in everything else, its settings included."""

import sys
from pathlib import Path

from chassis import logging
from chassis.service import Lifecycle, run, settings_or_exit
from listener.engine.service import opened, serve_until_stopped
from listener.engine.settings import EngineSettings
from tests.scripted_engine.faults import misbehaving
from tests.scripted_engine.rules import RuleReader


async def serve(lifecycle: Lifecycle, settings: EngineSettings, file: Path) -> None:
    """The engine with the faults in the file, until told to stop."""
    async with opened(settings) as app:
        app.middlewares.append(misbehaving(RuleReader(file)))
        await serve_until_stopped(lifecycle, settings, app)


def main(file: str) -> int:
    """The exit code of the service."""
    settings = settings_or_exit(EngineSettings, [])
    logging.configure("listener engine", level=settings.log_level, format=settings.log_format)
    return run(lambda lifecycle: serve(lifecycle, settings, Path(file)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
