"""One part of a stack as a real process: with a health check, stopped by its pid. Knows no part by name."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from precis.stack.process import LEASH

START_SECONDS = 120.0  # two cores that have much else to do, five interpreters
STOP_SECONDS = 20.0
LOOK_AGAIN_SECONDS = 0.02


@dataclass
class Part:
    """One process. Every way a machine can treat it: start, stop, kill, pause, resume."""

    name: str
    argv: tuple[str, ...]
    health: str
    log: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        assert self.process is not None
        return self.process.poll()

    def start(self) -> None:
        """On a leash: it does not outlive a test run that is killed."""
        leash = (sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(signal.SIGTERM)), "-")
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                (*leash, *self.argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=dict(self.environ), cwd=self.log.parent,
            )  # fmt: skip

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.health, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait_ready(self, within: float = START_SECONDS) -> None:
        deadline = time.monotonic() + within
        while not self.is_ready():
            assert self.code is None, f"{self.name} has ended with {self.code}:\n{self.tail()}"
            assert time.monotonic() < deadline, f"{self.name} is not ready:\n{self.tail()}"
            time.sleep(LOOK_AGAIN_SECONDS)

    def send(self, number: signal.Signals) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self) -> int:
        """Ask it to leave, and wait until it has; its exit code."""
        self.ask_to_leave()
        return self.wait()

    def ask_to_leave(self) -> None:
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)

    def wait(self) -> int:
        assert self.process is not None
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop:\n{self.tail()}") from None

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(STOP_SECONDS)

    def restart(self) -> None:
        self.stop()
        self.start()
        self.wait_ready()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far: what is JSON of it."""
        text = self.log.read_text(errors="replace")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]

    def tail(self, count: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


@contextlib.contextmanager
def run(part: Part) -> Iterator[Part]:
    """Start it, wait until it is ready, and stop it by its pid on the way out."""
    part.start()
    try:
        part.wait_ready()
        yield part
    finally:
        part.stop()
