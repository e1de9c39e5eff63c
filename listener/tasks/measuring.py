"""What a task does to texts themselves: plain functions that run in a child process where a text is long.
Light to import, for that: knows no model and no request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from listener.checks import report as checks
from listener.tasks.cleaner import clean
from listener.tasks.fence import escape, unescape
from listener.text.sentences import last_sentence_complete, trim_to_sentence
from listener.text.tokens import estimate_tokens
from listener.text.words import count_words


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be known of a source before a model is asked; `escaped` is None where it is the text
    itself."""

    words: int
    tokens: int
    escaped: str | None


@dataclass(frozen=True, slots=True)
class Criteria:
    """What an answer is measured by. `words` is None where a ratio counts."""

    task: str
    words: int | None = None
    ratio: float | None = None
    may_be_shorter: bool = False
    language: str | None = None
    delimiter: str = ""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class CheckedAnswer:
    """A clean answer, empty if nothing is left of it. One more turn may mend the
    `failed_checks`."""

    body: str
    checks: dict[str, Any]
    failed_checks: Sequence[str] = ()
    trimmed: bool = False
    checked: bool = True


def measure_source(text: str) -> Source:
    """The words of a source, and what stands between the fences."""
    escaped = escape(text)
    return Source(max(1, count_words(text)), estimate_tokens(escaped), None if escaped == text else escaped)


def measure(said: str, source: str, wanted: Criteria) -> CheckedAnswer:
    """An answer as a model said it, cleaned and checked."""
    text = clean_answer(said, source, wanted.delimiter)
    if not text:
        return CheckedAnswer("", {})
    trimmed = wanted.cut and not last_sentence_complete(text)
    body = (trim_to_sentence(text) or text) if trimmed else text
    report = check(body, source, wanted)
    return CheckedAnswer(body, report, checks.wants_retry(report, wanted.task), trimmed)


def check(body: str, source: str, wanted: Criteria) -> dict[str, Any]:
    """All checks of a clean answer."""
    short = wanted.may_be_shorter and wanted.words is not None and count_words(body) <= wanted.words
    return checks.run(
        source=source,
        output=body,
        task=wanted.task,
        target_words=None if short else wanted.words,
        target_ratio=wanted.ratio,
        language=wanted.language,
        delimiter=wanted.delimiter,
    )


def clean_answer(said: str, source: str, delimiter: str) -> str:
    """An answer without what is none of it; empty if nothing is left."""
    return unescape(clean(said, delimiter=delimiter, source=source)).strip()
