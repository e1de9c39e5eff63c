"""precis.queue.format: numbers, times and tables for people; and other people's text, which may do nothing to
the terminal."""

import io
import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from precis.queue.control import Answer, Pauses
from precis.queue.format import clean, document, moment, paused, size, span, stamp, table
from rich.console import Console, RenderableType

AT = datetime(2026, 11, 24, 17, 3, 9, tzinfo=timezone(timedelta(hours=1)))


def shown(what: RenderableType, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(("seconds", "text"), [
    (None, ""), (-3, "0.0 s"), (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (119, "119 s"),
    (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172799, "48 h"), (172800, "2 d"), (1e7, "116 d"),
])  # fmt: skip
def test_a_length_of_time_is_told_in_one_unit(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(("count", "text"), [
    (None, "no limit"), (0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1100, "1.1 KiB"),
    (1 << 29, "512 MiB"), (1000 << 30, "1,000 GiB"),
])  # fmt: skip
def test_bytes_are_told_in_the_unit_that_they_fill(count: int | None, text: str) -> None:
    assert size(count) == text


def test_moments_are_told_in_utc() -> None:
    assert moment(AT) == "2026-11-24 16:03:09 UTC"
    assert stamp(AT) == "11-24 16:03:09"


def test_what_could_move_the_cursor_or_turn_the_line_round_is_not_printed() -> None:
    assert clean("a\x1b[2Jb\rc\nd\x9be\u202ef") == "a\ufffd[2Jb\ufffdc\ufffdd\ufffde\ufffdf"
    assert clean("Grüße, 東京 ✓") == "Grüße, 東京 ✓"
    assert clean(None) == ""


def test_json_is_for_scripts_and_harmless_on_a_terminal() -> None:
    text = document([Answer("1", "code", "\x9b2J \x1b")])
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text) == [{"id": "1", "code": "code", "message": "\x9b2J \x1b"}]
    assert json.loads(document({"id": UUID(int=1), "at": AT.astimezone(UTC)})) == {
        "id": "00000000-0000-0000-0000-000000000001",
        "at": "2026-11-24T16:03:09+00:00",
    }


def test_only_columns_that_may_give_way_on_a_narrow_screen() -> None:
    rows = [["1a2b3c4d", "somebody with a long name at example.com", "3", "model_not_found"]]
    assert shown(table("id", "owner ", " tries", "code", rows=rows), 50) == [
        "id        owner             tries  code",
        "1a2b3c4d  somebody with a…      3  model_not_found",
    ]


def test_what_is_paused_is_told_everything_first() -> None:
    assert paused(Pauses(None, [], 0)).plain == ""
    assert paused(Pauses(None, ["a", "b"], 0)).plain == "Paused: a, b."
    assert paused(Pauses(AT, ["a"], 0)).plain == "Everything is paused since 2026-11-24 16:03:09 UTC."
