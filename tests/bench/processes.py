"""Starts a part of the floor in a process of its own. Knows only that it says when it is ready."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO


@contextmanager
def running(*arguments: str) -> Iterator[IO[str]]:
    """`python -m tests.bench.bare ARGUMENTS`, ready; yields what it prints from then on."""
    command = [sys.executable, "-m", "tests.bench.bare", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.stdout
    finally:
        process.terminate()
        process.wait()
