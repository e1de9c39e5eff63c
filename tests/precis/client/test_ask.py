"""precis.client.ask: what is sent for a file, and what is said about the answer."""

import io
import os
import sys
from pathlib import Path

import pytest
from precis.client.arguments import Wishes, ratio, words
from precis.client.ask import Question, about, read_text
from precis.command_line import parsed
from precis.faults import BadUsage


def test_a_file_is_read_with_its_name_as_title_and_without_its_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_bytes(b"\xef\xbb\xbfDear all,")
    assert read_text(str(tmp_path / "letter.txt")) == ("letter.txt", "Dear all,")


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Piped.")))
    assert read_text("-") == ("standard input", "Piped.")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_names_the_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "letter.txt").write_bytes("Año nuevo".encode(encoding))
    assert read_text(str(tmp_path / "letter.txt"))[1] == "Año nuevo"


def test_a_name_in_another_encoding_becomes_a_title_that_is_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"aviso-comuni\xf3n.txt")
    (tmp_path / name).write_text("Text.")
    title, _ = read_text(str(tmp_path / name))
    assert title == "aviso-comuni\N{REPLACEMENT CHARACTER}n.txt"


def test_a_file_without_an_end_is_not_read_to_its_end() -> None:
    with pytest.raises(BadUsage, match="larger than any text may be"):
        read_text("/dev/zero")


def test_a_text_in_an_encoding_of_windows_is_told_how_to_convert_it(tmp_path: Path) -> None:
    (tmp_path / "alt.txt").write_bytes("Grüße".encode("cp1252"))
    with pytest.raises(BadUsage, match="iconv -f cp1252"):
        read_text(str(tmp_path / "alt.txt"))


@pytest.mark.parametrize("given", ["nan", "inf", "-inf", "1e999", "-1", "0", "1", "half", "9" * 5000, ""])
def test_a_ratio_is_above_zero_and_below_one(given: str) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        ratio(given)


@pytest.mark.parametrize("given", ["0", "-5", "1.5", "²", "٣", "9" * 5000, "1_000", ""])
def test_words_are_a_whole_number(given: str) -> None:
    with pytest.raises(ValueError, match="whole number above 0"):
        words(given)


def test_what_was_well_given_is_taken() -> None:
    assert (ratio("0.25"), words("120")) == (0.25, 120)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\xff\xfe\x00", "not_text"),
        (b"\xff\xfe\x00\xd8", "not_text"),
        (b"%PDF\0", "not_text"),
        (b" \n", "empty_text"),
        (b"", "empty_text"),
    ],
)
def test_what_is_no_text_is_refused_before_it_is_sent(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BadUsage) as raised:
        read_text(str(tmp_path / "file"))
    assert raised.value.code == code


@pytest.mark.parametrize(("name", "why"), [
    ("none", "No such file"), ("", "Is a directory"), ("/proc/self/mem", "Input/output error"),
    ("x" * 5000, "File name too long"),
])  # fmt: skip
def test_a_file_that_cannot_be_read_is_a_sentence(name: str, why: str) -> None:
    with pytest.raises(BadUsage, match=f"cannot be read: {why}"):
        read_text(name)


def test_only_what_was_asked_for_is_sent() -> None:
    assert Question("shorten", "a.txt", "Text", Wishes(ratio=0.5)).request() == {
        "task": "shorten",
        "title": "a.txt",
        "text": "Text",
        "target_ratio": 0.5,
    }


def test_a_style_is_sent_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Text")
    verb, given, _ = parsed(["summarize", str(tmp_path / "a.txt"), "--style", "headline"])
    assert (verb.__name__, given.arguments["style"]) == ("summarize", "headline")
    question = Question("summarize", "a.txt", "Text", style="headline")
    assert question.request()["style"] == "headline"


def test_the_line_on_an_answer_names_the_checks_that_it_failed() -> None:
    question = Question("summarize", "a.txt", "One two three four")
    checks = {
        "length": {"score": 0.1, "ok": False},
        "numbers": {"score": None, "ok": None},
        "names": {"ok": True},
    }
    row = {"model": "tiny", "result": "One two", "checks": checks}
    shown = question.shown()
    assert about(question, shown, row) == "tiny · 4 → 2 words · 0.0 s · look at: length"


def test_the_line_on_an_answer_names_the_checks_that_could_not_be_made() -> None:
    question = Question("summarize", "a.txt", "One two three four")
    checks = {
        "length": {"score": 0.1, "ok": False},
        "names": {"score": None, "ok": None, "unknown": "not checked: too costly"},
    }
    row = {"model": "tiny", "result": "One two", "checks": checks}
    assert about(question, question.shown(), row).endswith("look at: length; not checked: names")
    row["checks"] = {"names": checks["names"]}
    assert about(question, question.shown(), row).endswith("0.0 s · not checked: names")
