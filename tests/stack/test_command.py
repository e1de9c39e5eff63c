"""`precis` against a stack that is up: whatever becomes of its streams, the result is not lost."""

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fix_stack import Stack, toml
from tests.stack.client import Client, story

pytestmark = pytest.mark.stack

PRECIS = Path(sys.executable).with_name("precis")
ASKED = """
select r.id from private.request r join private.account a on a.id = r.owner where a.email = %s
"""
TEXT = story(12, "Ångström")


@dataclass(frozen=True)
class Terminal:
    """Somebody's shell in a folder of their own."""

    home: Path
    client: Client

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PRECIS_CONFIG": str(self.home / "config.toml")}
        return subprocess.run(
            ["bash", "-c", command.replace("precis ", f"{PRECIS} ")], cwd=self.home, env=environ,
            stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=90,
        )  # fmt: skip


@pytest.fixture
async def terminal(stack: Stack, tmp_path: Path) -> AsyncIterator[Terminal]:
    async with stack.sign_up() as client:
        local = {"demo_email": client.email, "demo_password": client.password}
        (tmp_path / "config.toml").write_text(toml({**stack.sections, "local": local}))
        (tmp_path / "text.txt").write_text(TEXT)
        yield Terminal(tmp_path, client)


def test_what_a_narrow_encoding_cannot_show_is_replaced(terminal: Terminal) -> None:
    plain = terminal.run("precis shorten text.txt --ratio 0.9")
    narrow = terminal.run("PYTHONIOENCODING=ascii precis shorten text.txt --ratio 0.9")
    assert (plain.returncode, narrow.returncode) == (0, 0), narrow.stderr
    assert "Ångström" in plain.stdout
    assert narrow.stdout == plain.stdout.encode("ascii", "replace").decode()
    row = json.loads(terminal.run("PYTHONIOENCODING=ascii precis shorten text.txt --json").stdout)
    assert "Ångström" in row["result"]


@pytest.mark.parametrize("nowhere", [">/dev/full", ">&-"])
def test_a_result_that_cannot_be_written_is_fetched_again(terminal: Terminal, nowhere: str) -> None:
    lost = terminal.run(f"precis summarize text.txt {nowhere}")
    assert lost.returncode == 74
    assert "Traceback" not in lost.stderr
    found = re.search(r"It is kept: `(precis result [0-9a-f-]+)`", lost.stderr)
    assert found, lost.stderr
    again = terminal.run(found[1])
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.strip()


def test_a_reader_that_has_enough_hears_nothing_more(terminal: Terminal) -> None:
    run = terminal.run("precis shorten text.txt --json 2>errors | head -c 1; exit ${PIPESTATUS[0]}")
    assert run.returncode in (0, 130)  # a pipe may take it all before its reader leaves
    assert "precis:" not in (terminal.home / "errors").read_text()


async def test_a_file_of_any_name_and_of_windows_is_read(terminal: Terminal) -> None:
    name = os.fsdecode(b"aviso-comuni\xf3n.txt")
    (terminal.home / name).write_text(TEXT, encoding="utf-16")
    run = terminal.run("precis summarize aviso*")
    assert run.returncode == 0, run.stderr
    rows = (await terminal.client.rest("GET", "/requests?select=title")).json
    assert rows == [{"title": "aviso-comuni\N{REPLACEMENT CHARACTER}n.txt"}]


def test_without_standard_input_there_is_no_text(terminal: Terminal) -> None:
    run = terminal.run("precis summarize - <&-")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1


def test_a_service_that_goes_away_meanwhile_is_a_sentence_with_the_id(
    terminal: Terminal, breakable_stack: Stack
) -> None:
    environ = {**os.environ, "PRECIS_CONFIG": str(terminal.home / "config.toml")}
    with breakable_stack.work.paused():
        asking = subprocess.Popen(
            [PRECIS, "summarize", "text.txt"],
            cwd=terminal.home,
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        [request] = breakable_stack.until(ASKED, terminal.client.email)
        breakable_stack.parts["postgrest"].kill()
    _, told = asking.communicate(timeout=90)
    assert asking.returncode == 69
    assert "Traceback" not in told
    assert f"The request is kept: `precis result {request}`." in told
