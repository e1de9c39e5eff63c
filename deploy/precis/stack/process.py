"""Starts one child process and knows it again later. Knows no part by name."""

import asyncio
import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")
# A caller's variables that would turn a part's settings round behind our back.
FOREIGN_PREFIXES = ("PG", "PGRST_", "DBMATE_", "NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_", "JOURNAL_STREAM")
FOREIGN_NAMES = ("DATABASE_URL", "CREDENTIALS_DIRECTORY")


@dataclass(frozen=True, slots=True)
class Command:
    argv: tuple[str, ...]
    cwd: Path
    environ: Mapping[str, str]
    user: str | None = None  # None: the one we are
    stop_signal: signal.Signals = signal.SIGTERM


def clean_environ(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(FOREIGN_PREFIXES) and name not in FOREIGN_NAMES
    }


async def spawn(command: Command, log: Path) -> asyncio.subprocess.Process:
    """Starts it in a session of its own, so that Ctrl-C on the terminal reaches us alone and parts stop in
    order."""
    leash = (
        sys.executable,
        "-I",
        "-S",
        str(LEASH),
        str(os.getpid()),
        str(int(command.stop_signal)),
        command.user or "-",
    )
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *leash,
            *command.argv,
            cwd=command.cwd,
            env=dict(command.environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def birth(pid: int) -> str | None:
    """When this process started, as the kernel counts: with the pid it tells one process from all others
    since boot. None if there is no such process, or no /proc to ask."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state == "Z" else fields[18]


def outlasting(pids: Iterable[int], seconds: float) -> list[int]:
    """Waits for the end of processes that need not be our children; those that are still there after so
    long."""
    left, deadline = [], time.monotonic() + seconds
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            ended, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            os.close(descriptor)
            if not ended:
                left.append(pid)
    return left


def send(pid: int, sig: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sig)


def last_lines(log: Path, count: int) -> tuple[str, ...]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16 * 1024))
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(line for line in text.splitlines() if line.strip())[-count:]


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
