"""The built-in engine as a process on a free port, told by a file what to do wrong: a model server for tests.

`model_server` is shared by the tests of one test process; faults last as long as the `with` they are told in.
"""

import contextlib
import itertools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fix_postgres import free_port
from tests.part import Part, write_whole

MODEL = "extractive:latest"


@dataclass
class ModelServer:
    """One engine process."""

    part: Part
    url: str
    file: Path
    told: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @contextlib.contextmanager
    def faults(self, *rules: Mapping[str, Any]) -> Iterator[None]:
        """It misbehaves by these rules until the end of the block; one without `match` is for each call."""
        write_whole(self.file, json.dumps([self._fresh(rule) for rule in rules]))
        try:
            yield
        finally:
            write_whole(self.file, "[]")

    def _fresh(self, rule: Mapping[str, Any]) -> dict[str, Any]:
        """The engine remembers how often it applied a rule: another test's differs by microseconds."""
        return {"match": {}} | dict(rule) | {"seconds": rule.get("seconds", 0.0) + next(self.told) / 1e6}


@contextlib.contextmanager
def running_model_server() -> Iterator[ModelServer]:
    folder = Path(tempfile.mkdtemp(prefix="precis-engine-", dir="/tmp"))
    port, admin_port = free_port(), free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PRECIS_")} | {
        "PRECIS_ENGINE_LISTEN": f"127.0.0.1:{port}",
        "PRECIS_ENGINE_ADMIN_LISTEN": f"127.0.0.1:{admin_port}",
        "PRECIS_LOG_FORMAT": "json",
    }
    file = folder / "faults.json"
    file.write_text("[]")
    argv = (str(Path(sys.executable).parent / "listener"), "engine", "--faults", str(file))
    part = Part("engine", argv, f"http://127.0.0.1:{admin_port}/readyz", folder / "engine.log", environ)
    try:
        part.start()
        part.wait_ready()
        yield ModelServer(part, f"http://127.0.0.1:{port}", file)
    finally:
        part.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServer]:
    with running_model_server() as server:
        yield server


@pytest.fixture
def own_model_server() -> Iterator[ModelServer]:
    """One that the test may take away."""
    with running_model_server() as server:
        yield server
