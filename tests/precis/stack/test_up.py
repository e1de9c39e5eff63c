"""`precis up` and `precis demo` as a person meets them: the whole service, in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from precis.stack.process import outlasting

from tests.fix_ollama import SENTENCE, Ollama
from tests.fix_postgres import running_cluster

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

PRECIS = Path(sys.executable).with_name("precis")
TEXT = (
    "The harbour was rebuilt in 1921 after the great storm. Its new mole is 840 metres long. "
    "Fishermen had asked for it since 1887. The town paid a third of the cost, and the state the rest. "
    "Today the harbour is home to 63 boats. Most of them are small, and many are run by families. "
) * 6


@dataclass
class Up:
    """A `precis up` under way."""

    home: Path
    process: subprocess.Popen[str]

    def lines(self, containing: str) -> str:
        """Reads what it says until a line with this in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if containing in line:
                return line
        raise AssertionError(f"it ended without a word of {containing!r}")

    def parts(self) -> dict[str, int | None]:
        return {part["name"]: part["pid"] for part in self.status()["parts"]}

    def status(self) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(precis(self.home, "status", "--json").stdout)
        return shown


def environ(home: Path, **changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PRECIS_")}
    # No Ollama that happens to run on this machine.
    return {
        **kept,
        "PRECIS_CONFIG": str(home / "config.toml"),
        "PRECIS_WORK_HOSTS": "http://127.0.0.1:9",
        **changes,
    }


def precis(home: Path, *arguments: str, stdin: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PRECIS, *arguments],
        cwd=home,
        env=environ(home, **changes),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


@contextmanager
def starting(home: Path, **changes: str) -> Iterator[Up]:
    process = subprocess.Popen(
        [PRECIS, "up"],
        cwd=home,
        env=environ(home, **changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Up(home, process)
    finally:
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        process.wait(60)
        process.stdout.close()


@contextmanager
def up(home: Path, **changes: str) -> Iterator[Up]:
    with starting(home, **changes) as stack:
        stack.lines("Ctrl-C")
        yield stack


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter, unlike pytest's own."""
    with TemporaryDirectory(prefix="precis-up-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture
def second_home() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def test_one_ctrl_c_stops_every_part_and_is_no_failure(home: Path) -> None:
    with up(home) as stack:
        pids = [pid for pid in stack.parts().values() if pid]
        assert len(pids) == 6
        stack.process.send_signal(signal.SIGINT)
        assert stack.process.wait(60) == 0
    assert outlasting(pids, 0.0) == []
    assert precis(home, "status", "--json").returncode == 1


def test_a_killed_stack_takes_its_parts_along_and_the_next_one_starts(home: Path) -> None:
    with up(home) as stack:
        pids = [pid for pid in stack.parts().values() if pid]
        stack.process.kill()
        assert outlasting(pids, 30.0) == []
    with up(home):
        status = precis(home, "status", "--json")
        assert status.returncode == 0, status.stdout


def test_a_start_that_is_interrupted_leaves_nothing_behind_that_hinders_the_next(home: Path) -> None:
    with starting(home) as stack:
        stack.lines("postgres")
        stack.process.kill()
    with starting(home) as stack:
        stack.lines("postgres")
        stack.process.send_signal(signal.SIGTERM)
        assert stack.process.wait(60) == 130
    with up(home) as stack:
        assert set(stack.parts()) == {
            "postgres",
            "postgrest",
            "authsvc",
            "listener work",
            "listener events",
            "engine",
        }


def test_a_person_gets_a_summary_a_part_that_dies_comes_back_and_a_second_stack_is_refused(
    home: Path,
) -> None:
    with up(home) as stack:
        asked = precis(home, "summarize", "-", "--words", "30", "--json", stdin=TEXT)
        row = json.loads(asked.stdout)
        assert (asked.returncode, row["state"]) == (0, "done"), asked.stderr
        assert row["result"]
        assert "summarize standard input: done" in asked.stderr

        first = stack.parts()["authsvc"]
        assert first is not None
        os.kill(first, signal.SIGKILL)
        stack.lines("authsvc was killed by SIGKILL; starting it again")
        stack.lines("authsvc is ready again")
        assert stack.parts()["authsvc"] not in (None, first)

        config = tomllib.loads((home / "config.toml").read_text())
        with psycopg.connect(config["local"]["owner_url"]) as connection:
            known = connection.execute("select task from private.request where id = %s", [row["id"]])
            assert known.fetchone() == ("summarize",)

        second = precis(home, "up")
        assert second.returncode == 1
        assert "running already" in second.stderr


def test_the_demo_brings_everything_up_shows_two_results_and_stops(home: Path) -> None:
    demo = precis(home, "demo")
    assert demo.returncode == 0, demo.stderr
    assert demo.stdout.count(": done after") == 2
    assert "stopped after" in demo.stdout
    assert "Traceback" not in demo.stdout + demo.stderr


def test_two_stacks_run_side_by_side(home: Path, second_home: Path) -> None:
    with up(home) as one, up(second_home) as other:
        pids = [*one.parts().values(), *other.parts().values()]
        assert None not in pids
        assert len(set(pids)) == len(pids)
        addresses = [
            {shown[f"{name}_url"] for name in ("rest", "auth", "events")}
            for shown in (one.status(), other.status())
        ]
        assert not addresses[0] & addresses[1]


def test_a_server_of_ones_own_is_used_where_it_is_named(second_home: Path) -> None:
    with running_cluster() as cluster:
        url = cluster.url("postgres", "postgres")
        demo = precis(second_home, "demo", PRECIS_LOCAL_POSTGRES_URL=url)
        assert demo.returncode == 0, demo.stderr
        assert not (second_home / ".precis/postgres").exists()
        made = cluster.psql("precis", "-At", "-c", "select count(*) from private.request")
        assert made.strip() == "2"


@pytest.mark.ollama
def test_an_ollama_with_a_model_writes_and_the_built_in_engine_is_not_started(
    second_home: Path, ollama: Ollama
) -> None:
    with up(second_home, PRECIS_WORK_HOSTS=ollama.url) as stack:
        asked = precis(second_home, "summarize", "-", "--words", "25", stdin=TEXT)
        assert (asked.returncode, asked.stdout) == (0, f"{SENTENCE}\n"), asked.stderr
        assert "tiny:latest · " in asked.stderr
        assert stack.parts()["engine"] is None
    assert precis(second_home, "status").returncode == 1


def test_a_configured_postgrest_that_is_not_there_stops_the_start_with_a_sentence(home: Path) -> None:
    run = precis(home, "up", PRECIS_POSTGREST_BINARY="/nowhere/postgrest")
    assert run.returncode == 1
    assert "/nowhere/postgrest (postgrest.binary) is not a PostgREST that runs here." in run.stderr
