"""precis.ask: what is sent for a file, and what is said about the answer."""

import io
import sys
from pathlib import Path

import pytest
from precis.ask import Question, about, read_text
from precis.faults import BadUsage


def test_a_file_is_read_with_its_name_as_title_and_without_its_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_bytes(b"\xef\xbb\xbfDear all,")
    assert read_text(str(tmp_path / "letter.txt")) == ("letter.txt", "Dear all,")


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Piped.")))
    assert read_text("-") == ("standard input", "Piped.")


@pytest.mark.parametrize(
    ("content", "code"), [(b"\xff\xfe\x00", "not_text"), (b"%PDF\0", "not_text"), (b" \n", "empty_text")]
)
def test_what_is_no_text_is_refused_before_it_is_sent(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BadUsage) as raised:
        read_text(str(tmp_path / "file"))
    assert raised.value.code == code


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="cannot be read: No such file"):
        read_text(str(tmp_path / "none"))


def test_only_what_was_asked_for_is_sent() -> None:
    assert Question("shorten", "a.txt", "Text", ratio=0.5).request() == {
        "task": "shorten",
        "title": "a.txt",
        "text": "Text",
        "target_ratio": 0.5,
    }


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
