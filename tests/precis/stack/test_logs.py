"""The parts' logs stay within bounds while their parts write on."""

import asyncio
import os
from pathlib import Path

import pytest
from precis.stack import logs


def test_a_run_begins_with_empty_logs_and_keeps_those_of_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "postgres.log").write_text("before")
    logs.begin(tmp_path)
    assert not (tmp_path / "postgres.log").exists()
    assert (tmp_path / "postgres.log.1").read_text() == "before"


async def test_a_log_that_grew_too_long_is_emptied_under_its_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 10)
    monkeypatch.setattr(logs, "LOOK_SECONDS", 0.001)
    log, short = tmp_path / "postgres.log", tmp_path / "authsvc.log"
    short.write_text("short")
    writer = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    trimming = asyncio.create_task(logs.keep_short(tmp_path))
    os.write(writer, b"a line too many\n")
    async with asyncio.timeout(10):
        while log.stat().st_size:
            await asyncio.sleep(0)
    os.write(writer, b"next\n")
    trimming.cancel()
    os.close(writer)
    assert log.read_text() == "next\n"
    assert (tmp_path / "postgres.log.1").read_text() == "a line too many\n"
    assert short.read_text() == "short"
