"""Running a process: signals, readiness, systemd's watchdog, exit codes.

Knows nothing of what the process does: `main` opens, serves, and returns soon after `stopping` is set.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

import structlog
import uvloop

from chassis.errors import StartError
from chassis.settings import SettingsError, describe, load

T = TypeVar("T")

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
MICROSECONDS = 1_000_000

log = structlog.get_logger()


@dataclass
class Lifecycle:
    """What a service's main is given: the order to stop, and how to say that it is ready."""

    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    starting: "asyncio.Task[None] | None" = None  # until it is ready: what it waits for may never come

    def ready(self, status: str = "") -> None:
        """Tell systemd that the service can serve, and start answering its watchdog if it has one."""
        self.starting = None
        _notify("READY=1", f"STATUS={status}")
        log.info("service.ready", status=status)
        if period := _watchdog_seconds():
            self._ping(period / 2)

    def status(self, text: str) -> None:
        """Show `text` in `systemctl status`."""
        _notify(f"STATUS={text}")

    def stop(self, number: int) -> None:
        """The first signal asks, the second one does not."""
        if self.stopping.is_set():
            _exit_hard(128 + number)
        log.info("service.stopping", signal=signal.Signals(number).name)
        _notify("STOPPING=1")
        self.stopping.set()
        if self.starting is not None:
            self.starting.cancel()

    def _ping(self, every: float) -> None:
        # From the loop itself: it proves that the loop turns and no more, since a process that waits for its
        # database must not be killed for that.
        _notify("WATCHDOG=1")
        asyncio.get_running_loop().call_later(every, self._ping, every)


def run(main: Callable[[Lifecycle], Awaitable[None]]) -> int:
    """Run `main` until it returns, and return the process's exit code. What it raises is logged once: as its
    sentence alone if it says what a person must change."""
    try:
        uvloop.run(_supervise(main))
    except StartError as error:
        log.critical("service.cannot_start", reason=str(error))
        return EXIT_CONFIG
    except (Exception, BaseExceptionGroup, asyncio.CancelledError):
        log.critical("service.failed", exc_info=True)
        return EXIT_FAILURE
    log.info("service.stopped")
    return 0


def settings_or_exit(cls: type[T], argv: Sequence[str]) -> T:
    """The settings, or the end of the process: 78 and all faults on stderr; 0 when `--check` printed them."""
    if list(argv) not in ([], ["--check"]):
        _leave(EXIT_USAGE, f"unknown arguments: {' '.join(argv)} (there is only --check)")
    try:
        settings = load(cls)
    except SettingsError as error:
        _leave(EXIT_CONFIG, *error.faults)
    if argv:
        print(describe(settings))
        raise SystemExit(0)
    return settings


async def _supervise(main: Callable[[Lifecycle], Awaitable[None]]) -> None:
    lifecycle = Lifecycle()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lifecycle.stop, number)
    lifecycle.starting = asyncio.current_task()
    try:
        await main(lifecycle)
    except asyncio.CancelledError:
        if lifecycle.starting is None or not lifecycle.stopping.is_set():
            raise


def _leave(code: int, *lines: str) -> NoReturn:
    for line in lines:
        print(line, file=sys.stderr)
    raise SystemExit(code)


def _exit_hard(code: int) -> NoReturn:
    log.warning("service.killed", exit_code=code)
    sys.stdout.flush()
    os._exit(code)


def _watchdog_seconds() -> float:
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    return int(os.environ.get("WATCHDOG_USEC", "0")) / MICROSECONDS


def _notify(*lines: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(address)
            sender.send("\n".join(lines).encode())
    except OSError as error:
        log.warning("service.manager_unreachable", error=str(error))
