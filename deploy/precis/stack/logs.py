"""The logs of the parts: one file for each, a bounded number of bytes. Knows no part.

A file is emptied and not replaced, since its part holds it open for appending.
"""

import asyncio
import os
import shutil
from pathlib import Path

MOST_BYTES = 16 * 1024 * 1024
LOOK_SECONDS = 10.0


def begin(logs: Path) -> None:
    """Each run's log stands alone; the one before is kept beside it."""
    logs.mkdir(mode=0o700, exist_ok=True)
    for log in logs.glob("*.log"):
        log.replace(_earlier(log))


async def keep_short(logs: Path) -> None:
    """For ever: what has become too long is kept beside as the log's earlier part, in place of what was."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await asyncio.to_thread(_cut, logs)


def _cut(logs: Path) -> None:
    """A line that is written meanwhile may get lost."""
    for log in logs.glob("*.log"):
        if log.stat().st_size > MOST_BYTES:
            shutil.copyfile(log, _earlier(log))
            os.truncate(log, 0)


def _earlier(log: Path) -> Path:
    return log.with_suffix(".log.1")
