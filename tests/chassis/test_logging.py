"""Logging: the form of a line for each reader, and that no secret and no hostile text gets through."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from chassis.logging import EVENT_MAX_BYTES, REDACTED, redact

PREAMBLE = """
import logging, warnings, structlog
from chassis.logging import configure
configure("part", level="info", format="{format}")
log = structlog.get_logger()
"""


def speak(code: str, *, format: str = "auto", stdout: int = subprocess.PIPE, **environ: str) -> str:
    """What a process of ours writes to standard output when it runs `code`."""
    script = PREAMBLE.format(format=format) + code
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environ,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout or ""


def spoken(code: str) -> dict[str, Any]:
    (line,) = speak(code).splitlines()
    return dict(json.loads(line))


def redacted(**fields: Any) -> dict[str, Any]:
    return dict(redact(None, "", fields))


def test_a_line_is_json_with_time_level_service_and_fields() -> None:
    line = spoken("log.warning('unit.claimed', job=7, url=None)")
    assert line.pop("ts").endswith("Z")
    assert line == {"service": "part", "event": "unit.claimed", "level": "warning", "job": 7, "url": None}


def test_what_is_bound_to_the_context_is_in_every_line() -> None:
    line = spoken("structlog.contextvars.bind_contextvars(request_id='r1'); log.info('x.y')")
    assert line["request_id"] == "r1"


def test_lines_below_the_level_are_not_written() -> None:
    assert speak("log.debug('x.y'); logging.getLogger('lib').debug('z')") == ""


def test_under_the_journal_each_line_carries_its_priority() -> None:
    reader, writer = os.pipe()
    status = os.fstat(writer)
    stream = f"{status.st_dev}:{status.st_ino}"
    speak("log.info('a'); log.error('b'); log.critical('c')", stdout=writer, JOURNAL_STREAM=stream)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert [line[:4] for line in pipe] == ["<6>{", "<3>{", "<2>{"]


def test_an_inherited_journal_variable_alone_brings_no_priority() -> None:
    assert speak("log.info('a')", JOURNAL_STREAM="1:2").startswith("{")


def test_a_terminal_gets_lines_for_people() -> None:
    reader, writer = pty.openpty()
    speak("log.info('unit.claimed', job=7, token='hush')", stdout=writer)
    os.close(writer)
    text = os.read(reader, 4096).decode()
    os.close(reader)
    assert "unit.claimed" in text
    assert "{" not in text
    assert "hush" not in text


def test_the_form_can_be_chosen() -> None:
    assert speak("log.info('a')", format="console")[0] != "{"


def test_libraries_and_warnings_speak_the_same_way() -> None:
    code = "logging.getLogger('asyncpg').error('lost %s', 'it'); warnings.warn('old')"
    first, second = (json.loads(line) for line in speak(code).splitlines())
    assert (first["event"], first["message"], first["logger"]) == ("library.message", "lost it", "asyncpg")
    assert first["level"] == "error"
    assert second["logger"] == "py.warnings"


def test_a_traceback_stays_in_its_line() -> None:
    line = spoken("try: 1 / 0\nexcept ZeroDivisionError: log.exception('x.failed')")
    assert "ZeroDivisionError" in line["exception"]


def test_hostile_text_cannot_start_a_line_of_its_own() -> None:
    line = spoken(r"log.info('a', agent='x\n<0>{\"event\": \"forged\"}\r\u2028\ud800')")
    assert "forged" in line["agent"]


def test_a_line_stays_below_what_the_journal_would_split() -> None:
    (line,) = speak("log.info('a', request_id='r', **{f'f{i}': 'x' * 9999 for i in range(9)})").splitlines()
    assert len(line) < EVENT_MAX_BYTES
    assert json.loads(line)["request_id"] == "r"


def test_a_long_value_loses_its_middle() -> None:
    value = spoken("log.info('a', text='<' + 'x' * 9999 + '>')")["text"]
    assert (value[0], value[-1]) == ("<", ">")
    assert len(value) < 5000


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "new_password",
        "access_token",
        "Authorization",
        "Set-Cookie",
        "client_secret",
        "code",
        "master_key",
    ],
)
def test_a_field_with_a_secret_name_is_redacted(name: str) -> None:
    assert redacted(**{name: "hush"}) == {name: REDACTED}


@pytest.mark.parametrize("name", ["error_code", "tokens", "exit_code", "password_min_length", "barcode"])
def test_a_field_whose_name_only_resembles_one_is_kept(name: str) -> None:
    assert redacted(**{name: 12})[name] == 12
    assert name == "password_min_length" or redacted(**{name: "plain"})[name] == "plain"


@pytest.mark.parametrize(
    "wrap", [lambda secret: {"headers": {"Cookie": secret}}, lambda secret: {"rows": [{"token": [secret]}]}]
)
def test_secrets_are_found_inside_of_structures(wrap: Callable[[str], dict[str, Any]]) -> None:
    assert "hush" not in repr(redacted(**wrap("hush")))


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach postgresql://precis:hush@db/precis",
        "refused Bearer hush.hush-hush",
        "sent eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.hush",
    ],
)
def test_secrets_are_found_inside_of_texts(text: str) -> None:
    assert "hush" not in redacted(error=ValueError(text))["error"]


def test_a_secret_in_a_traceback_is_redacted() -> None:
    code = "try: raise ValueError('postgresql://u:hush@h/d')\nexcept ValueError: log.exception('x.failed')"
    assert "u:[redacted]@h/d" in spoken(code)["exception"].splitlines()[-1]
