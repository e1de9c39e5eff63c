"""precis.queue.live_view: one screen whatever its size, and a live view that outlasts its connection and
ends with Ctrl-C."""

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from precis.faults import BadUsage
from precis.queue.control import Pauses
from precis.queue.live_view import bar, draw, watch
from precis.queue.overview import Failure, Model, Overview, Running, Worker
from rich.console import Console

from tests.fix_work import Desk

PRECIS = Path(sys.executable).with_name("precis")
AT = datetime(2026, 11, 24, 16, 3, 9, tzinfo=UTC)
ID = UUID(int=0x1A2B3C4D << 96)
COLUMNS, LINES = 80, 24
LEFT = b"\x1b[?1049l"  # the terminal shows again what it showed before
BACKEND = """
select pid from pg_stat_activity
 where application_name = 'precis queue' and datname = current_database() and pid <> %s and state = 'idle'
"""


def overview(running: int = 2, *, paused: bool = False) -> Overview:
    jobs = [Running(ID, "ann@example.com", "llama3.1:8b", "box", 12.0, 0.5) for _ in range(running)]
    return Overview(
        Pauses(AT if paused else None, [], running),
        [
            Model("extractive", False, 0, None, 1, 0, 1, 1),
            Model("llama3.1:8b", True, 10_000, 75.0, 0, 2, 4, 2),
        ],
        jobs,
        [Worker(3, "box", "0.1.0", False, AT, 14.2, ["extractive", "llama3.1:8b"], 3, 2)],
        [Failure(ID, "bob@example.com", "llama3.1:8b", AT, 40.0, "model_failed")] * 9,
    )


def shown(what: Overview, *, width: int = COLUMNS, height: int = LINES) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, highlight=False)
    console.print(draw(what, console, "Database precis at box"))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_whole_queue_is_on_one_screen() -> None:
    lines = shown(overview(paused=True))
    assert lines[0].startswith("The queue  Database precis at box, ")
    assert lines[1:] == [
        "Everything is paused since 2026-11-24 16:03:09 UTC.",
        "",
        "model         queued  next waits  scheduled  running  leased",
        "extractive         0                      1        0  1 of 1",
        "llama3.1:8b  10,000+        75 s          0        2  2 of 4  paused",
        "",
        "running   owner            model        worker   for  progress",
        "1a2b3c4d  ann@example.com  llama3.1:8b  box     12 s  ━━━━━━━━━━━━  50%",
        "1a2b3c4d  ann@example.com  llama3.1:8b  box     12 s  ━━━━━━━━━━━━  50%",
        "",
        "worker  name  lease  state      busy  models",
        "     3  box    14 s  working  2 of 3  extractive, llama3.1:8b",
        "",
        "failed    owner            model            when  code",
        "1a2b3c4d  bob@example.com  llama3.1:8b  40 s ago  model_failed",
        "1a2b3c4d  bob@example.com  llama3.1:8b  40 s ago  model_failed",
        "1a2b3c4d  bob@example.com  llama3.1:8b  40 s ago  model_failed",
        "1a2b3c4d  bob@example.com  llama3.1:8b  40 s ago  model_failed",
        "1a2b3c4d  bob@example.com  llama3.1:8b  40 s ago  model_failed",
        "",
    ]


@pytest.mark.parametrize(("height", "rows"), [(24, 5), (40, 21), (10, 3)])
def test_what_runs_gets_the_lines_that_are_left(height: int, rows: int) -> None:
    lines = shown(overview(50), height=height)
    assert sum("━" in line for line in lines) == rows
    assert f"and {50 - rows} more" in lines
    assert len(lines) <= max(height, 22)


def test_nothing_at_all_is_a_screen_too() -> None:
    assert shown(Overview(Pauses(None, [], 0), [], [], [], []))[1:] == [
        "",
        "No model yet.",
        "",
        "No worker.",
        "",
    ]


def test_a_bar_is_as_long_whatever_it_shows() -> None:
    assert [bar(share).plain[-5:] for share in (0.0, 0.5, 1.0)] == ["   0%", "  50%", " 100%"]
    assert {len(bar(share).plain) for share in (0.0, 0.5, 1.0)} == {17}


async def test_without_a_terminal_there_is_no_live_view() -> None:
    with pytest.raises(BadUsage, match="needs a terminal") as caught:
        await watch("postgresql://nowhere/precis", Console(file=io.StringIO()))
    assert caught.value.code == "no_terminal"


@dataclass
class Screen:
    """A process on a terminal of its own."""

    process: subprocess.Popen[bytes]
    descriptor: int
    output: bytes = field(default=b"")

    def until(self, text: bytes) -> None:
        """Reads until the text has been written since the last time; the process's end is an error."""
        while text not in self.output:
            self.output += os.read(self.descriptor, 65536)
        self.output = self.output.partition(text)[2]

    def type(self, keys: bytes) -> None:
        os.write(self.descriptor, keys)


@contextmanager
def on_a_terminal(*command: str, url: str) -> Iterator[Screen]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environ = {**os.environ, "DATABASE_URL": url, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [PRECIS, *command], stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Screen(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.services
async def test_the_live_view_outlasts_its_connection_and_ends_with_ctrl_c(desk: Desk) -> None:
    await desk.model("tiny:latest")
    with on_a_terminal("queue", "watch", url=desk.database.url("precis_owner")) as screen:
        screen.until(b"tiny:latest")
        (first,) = await desk.until(BACKEND, 0)
        desk.query("select pg_terminate_backend(%s)", first)
        screen.until(b"Looking again.")
        screen.until(b"tiny:latest")
        await desk.until(BACKEND, first)
        screen.type(b"\x03")
        screen.until(LEFT)
        assert screen.process.wait(timeout=10) == 0


@pytest.mark.services
def test_a_live_view_of_nothing_ends_with_a_sentence() -> None:
    with on_a_terminal("queue", "watch", url="postgresql://precis_owner@127.0.0.1:1/precis") as screen:
        screen.until(b"[database_unreachable]")
        assert screen.process.wait(timeout=10) == 69
