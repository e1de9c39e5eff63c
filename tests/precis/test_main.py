"""The command line of `precis`, as a person runs it: what it says, and its exit code, when nothing is up."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

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
    owner_url = urlsplit(tomllib.loads((home / "config.toml").read_text())["local"]["owner_url"])
    assert owner_url.password
    assert owner_url.password not in run.stdout
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
    assert "Mutually exclusive" in run.stderr


def test_the_version_is_the_packages(home: Path) -> None:
    run = precis(home, "--version")
    assert (run.returncode, run.stdout, run.stderr) == (0, f"precis {version('precis')}\n", "")


@pytest.mark.parametrize(("typed", "told"), [
    ((), "`precis --help` lists the verbs.  [no_verb]"),
    (("stauts",), 'Did you mean "status"?'),
    (("queue", "wach"), 'Did you mean "watch"?'),
    (("summarize", "a.txt", "--wrods", "9"), "Did you mean --words? `precis summarize --help` tells"),
    (("summarize", "a.txt", "--words", "0"), "--words: give a whole number above 0. `precis"),
    (("summarize", "a.txt", "--style", "poem"), '"plain", "bullets", "headline"'),
    (("shorten", "a.txt", "--style", "plain"), "Unknown option: --style."),
    (("summarize",), "parameter FILE requires an argument."),
    (("result", "12"), "give the id of a request"),
    (("status", "now"), "That is too much: now. `precis status --help` tells"),
])  # fmt: skip
def test_a_wrong_call_is_one_sentence(home: Path, typed: tuple[str, ...], told: str) -> None:
    run = precis(home, *typed)
    assert (run.returncode, run.stdout) == (2, "")
    assert told in run.stderr
    assert run.stderr.startswith("precis: ")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_every_verb(home: Path, shell: str) -> None:
    run = precis(home, "completion", shell)
    assert run.returncode == 0
    assert all(
        verb in run.stdout for verb in ("summarize", "workers", "--style", "headline", "--database-url")
    )


def test_a_verb_waits_for_no_library_that_another_needs() -> None:
    code = "import sys; from precis.command_line import parsed; parsed(['status']); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert {"aiohttp", "psycopg", "tomlkit", "rich.live"}.isdisjoint(run.stdout.split())
