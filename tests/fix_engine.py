"""The built-in engine as a process on a free port, told by a file what to do wrong: a model server for tests.

`model_server` is shared by the tests of one test process; faults last as long as the `with` they are told in.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fix_postgres import ROOT, free_port
from tests.part import Part
from tests.scripted_engine.rules import RuleFile

MODEL = "extractive:latest"


@dataclass
class ModelServer:
    """One engine process."""

    part: Part
    url: str
    rules: RuleFile

    def faults(self, *rules: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
        """It misbehaves by these rules until the end of the block."""
        return self.rules.in_force(*rules)


def engine_part(rules: RuleFile, admin: str, log: Path, environ: Mapping[str, str]) -> Part:
    """The process, not yet started; its addresses and all else are in `environ`."""
    argv = (sys.executable, "-m", "tests.scripted_engine", str(rules.file))
    return Part("engine", argv, f"http://{admin}/readyz", log, {**environ, "PYTHONPATH": str(ROOT)})


@contextlib.contextmanager
def running_model_server() -> Iterator[ModelServer]:
    folder = Path(tempfile.mkdtemp(prefix="precis-engine-", dir="/tmp"))
    address, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PRECIS_")} | {
        "PRECIS_ENGINE_LISTEN": address,
        "PRECIS_ENGINE_ADMIN_LISTEN": admin,
        "PRECIS_LOG_FORMAT": "json",
    }
    rules = RuleFile(folder / "faults.json")
    part = engine_part(rules, admin, folder / "engine.log", environ)
    try:
        part.start()
        part.wait_ready()
        yield ModelServer(part, f"http://{address}", rules)
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
