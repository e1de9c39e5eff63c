"""How the command ends, however it was started and whatever went wrong: a code, a sentence, no traceback."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

PRECIS = Path(sys.executable).with_name("precis")
ID = "00000000-0000-4000-8000-000000000000"
PATIENCE_SECONDS = 60.0
INTERRUPTED = (130, -signal.SIGINT)
CODES = {0, 1, 2, 69, 70, 74, 78, 130}

VERBS = {
    "help": "--help",
    "setup": "setup",
    "status": "status --json",
    "summarize": "summarize text.txt",
    "shorten": "shorten -",
    "result": f"result {ID}",
    "queue": "queue list",
}
PLACES = {
    "ascii": "PYTHONIOENCODING=ascii LC_ALL=C {} </dev/null",
    "closed": "{} <&- >&- 2>&-",
    "full": "{} </dev/null >/dev/full 2>/dev/full",
    "homeless": "env -u HOME PRECIS_CONFIG=text.txt/config.toml TMPDIR=/nonexistent {} </dev/null",
}
MORE_PLACES = {
    "no input": "{} <&-",
    "no output": "{} >&-",
    "no errors": "{} 2>&-",
    "a full disk": "{} >/dev/full",
    "no reader": "{} | true; exit ${PIPESTATUS[0]}",
    "narrow": "COLUMNS=1 LINES=1 TERM=dumb {}",
    "no width": "COLUMNS=0 TERM= {}",
    "unknown": "COLUMNS=² TERM=never-heard-of LC_ALL=xx_YY {}",
    "folder": "PRECIS_CONFIG=/ {}",
    "foreign home": "PRECIS_CONFIG='~nobody-of-that-name/config.toml' {}",
    "relative": "PRECIS_CONFIG=../missing/x/config.toml {}",
    "device": "PRECIS_CONFIG=/dev/null {}",
}
CONFIGURATIONS = {
    "not TOML": b"[local\n",
    "not UTF-8": b"[local]\ndata_dir = '\xf3'\n",
    "NUL": b"[local]\ndata_dir = '\\u0000'\n",
    "not a table": b"local = 3\n",
    "a listener of tables": b"[[local]]\ndata_dir = 'x'\n",
    "no port": b"[authsvc]\nlisten = 'here'\n",
    "a broken address": b"[authsvc]\nlisten = '[::'\n",
    "a port out of range": b"[authsvc]\nlisten = '127.0.0.1:99999999'\n",
    "a broken URL": b"[local]\nowner_url = 'postgresql://[::1/x'\n",
    "a socket": b"[authsvc]\nlisten = 'unix:/x'\n",
    "data in a file": b"[local]\ndata_dir = 'text.txt/x'\n",
    "data nowhere": b"[local]\ndata_dir = '~nobody-of-that-name/x'\n",
    "deep": b"[local]\ndata_dir = " + b"[" * 5000 + b"\n",
}
ERRORS = {
    "ValueError('x')": (70, "nobody has foreseen (ValueError)"),
    "RecursionError()": (70, "nobody has foreseen (RecursionError)"),
    "MemoryError()": (1, "not enough memory"),
    "OSError(28, 'No space left on device', 'a.txt')": (1, "a.txt: The disk is full"),
    "OSError(30, 'Read-only file system', 'a.txt')": (1, "a.txt: Read-only file system."),
    "PermissionError(13, 'Permission denied', 'a.txt')": (1, "a.txt belongs to somebody else"),
    "ExceptionGroup('', [ExceptionGroup('', [OSError(5, 'I/O error')])])": (1, "I/O error."),
    "TimeoutError()": (1, "No answer came in time"),
    "'a\\udcf3'.encode()": (2, r"'a\udcf3' is not in UTF-8"),
    "KeyboardInterrupt()": (130, ""),
    "BrokenPipeError(32, 'Broken pipe')": (130, ""),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("A text with an é.")
    return tmp_path


def shell(home: Path, command: str, verb: str) -> subprocess.CompletedProcess[str]:
    environ = {"PRECIS_CONFIG": str(home / "config.toml")} | {
        name: value for name, value in os.environ.items() if not name.startswith("PRECIS_")
    }
    return subprocess.run(
        ["bash", "-c", command.replace("{}", f'"{PRECIS}" {verb}')],
        cwd=home, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_SECONDS,
        encoding="utf-8", errors="replace",
    )  # fmt: skip


def ends_well(run: subprocess.CompletedProcess[str]) -> bool:
    """With a code that is meant, and no more than a sentence."""
    assert "Traceback" not in run.stdout + run.stderr, run.stderr
    assert "Exception ignored" not in run.stderr
    assert run.returncode in CODES - {70}, (run.returncode, run.stderr)
    return True


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
def test_no_verb_shows_a_traceback_wherever_it_is_started(home: Path, verb: str, place: str) -> None:
    assert ends_well(shell(home, place, verb))


@pytest.mark.parametrize("place", MORE_PLACES.values(), ids=MORE_PLACES.keys())
def test_no_place_makes_it_show_a_traceback(home: Path, place: str) -> None:
    assert ends_well(shell(home, place, "status"))


@pytest.mark.parametrize("content", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_a_wrong_configuration_is_a_sentence(home: Path, content: bytes) -> None:
    (home / "config.toml").write_bytes(content)
    run = shell(home, "{}", "setup")
    assert ends_well(run)
    assert run.returncode == 0 or run.stderr.rstrip().endswith("]"), run.stderr


@pytest.mark.parametrize(("error", "expected"), ERRORS.items(), ids=ERRORS.keys())
def test_every_failure_is_one_sentence(home: Path, error: str, expected: tuple[int, str]) -> None:
    code, words = expected
    run = _failing(home, error)
    assert (run.returncode, run.stdout) == (code, "")
    assert words in run.stderr
    assert run.stderr.count("\n") == (1 if words else 0)


def test_what_nobody_has_foreseen_is_noted_in_full(home: Path) -> None:
    told = _failing(home, "ValueError('the details')").stderr
    [note] = home.glob("precis-*.log")
    assert str(note) in told
    assert "ValueError: the details" in note.read_text()
    assert note.stat().st_mode & 0o077 == 0


def test_the_details_are_shown_at_once_to_who_wants_them(home: Path) -> None:
    told = _failing(home, "ValueError('the details')", PRECIS_TRACEBACK="1").stderr
    assert "Traceback" in told
    assert "ValueError: the details" in told


def _failing(home: Path, error: str, **environ: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from precis import endings\ndef run(): raise {error}\nsys.exit(endings.told(run))"
    given = {**os.environ, "TMPDIR": str(home), **environ}
    return subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, timeout=60)


def test_an_interrupt_while_it_loads_is_no_traceback(home: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "precis", "status"]
    with _started(home, command) as process:
        assert process.stderr
        while b"rich.text" not in (line := process.stderr.readline()):
            assert line, "rich was not loaded"
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(PATIENCE_SECONDS) in INTERRUPTED
    assert b"Traceback" not in rest


def test_an_interrupt_while_it_waits_for_a_text_ends_it_at_once(home: Path) -> None:
    os.mkfifo(home / "pipe")
    with _started(home, [str(PRECIS), "summarize", "pipe"]) as process:
        with (home / "pipe").open("wb"):  # opens when it reads
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_SECONDS) in INTERRUPTED
        assert process.stderr
        assert process.stderr.read() == b""


def _started(home: Path, command: Sequence[str]) -> "subprocess.Popen[bytes]":
    environ = {**os.environ, "PRECIS_CONFIG": str(home / "config.toml")}
    return subprocess.Popen(
        command, cwd=home, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
