"""The command line of `precis`, as a person runs it: what it says, and its exit code, when nothing is up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PRECIS = Path(sys.executable).with_name("precis")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("A text.")
    return tmp_path


def precis(home: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "PRECIS_CONFIG": str(home / "config.toml"), **environ}
    return subprocess.run(
        [PRECIS, *arguments],
        cwd=home,
        env=given,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_setup_writes_what_a_stack_needs_and_says_where(home: Path) -> None:
    run = precis(home, "setup")
    assert (run.returncode, run.stderr) == (0, "")
    assert all(name in run.stdout for name in ("config.toml", ".env", ".precis/postgrest.conf"))
    assert {path.name for path in home.iterdir()} == {"config.toml", ".env", ".precis", "text.txt"}


def test_asking_before_a_setup_says_what_to_do(home: Path) -> None:
    run = precis(home, "summarize", "text.txt")
    assert run.returncode == 69
    assert "make up" in run.stderr
    assert "Traceback" not in run.stderr


def test_asking_a_stack_that_is_not_up_says_what_to_do(home: Path) -> None:
    precis(home, "setup")
    run = precis(home, "summarize", "text.txt")
    assert run.returncode == 69
    assert run.stderr.endswith("Start the service with `make up`.  [not_running]\n")


def test_the_status_of_a_stack_that_is_not_up_still_has_its_addresses(home: Path) -> None:
    precis(home, "setup")
    run = precis(home, "status", "--json")
    assert run.returncode == 1
    shown = json.loads(run.stdout)
    assert shown["rest_url"].startswith("http://127.0.0.1:")
    assert [(part["name"], part["ready"]) for part in shown["parts"]] == [
        ("postgres", False),
        ("postgrest", False),
        ("authsvc", False),
        ("listener work", False),
        ("listener events", False),
        ("engine", False),
    ]


def test_all_faults_of_the_settings_are_named_at_once(home: Path) -> None:
    (home / "config.toml").write_text("[local]\ndata_dir = 1\n[work]\ncolour = 2\n")
    run = precis(home, "up")
    assert run.returncode == 78
    assert "local.data_dir: " in run.stderr
    assert "work.colour: " in run.stderr


def test_a_length_is_given_in_one_way(home: Path) -> None:
    run = precis(home, "summarize", "text.txt", "--words", "9", "--ratio", "0.1")
    assert run.returncode == 2
    assert "not allowed with argument" in run.stderr
