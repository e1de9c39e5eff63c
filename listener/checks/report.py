"""Checks an answer against its source without a model: is it as long, in the language, and as true as can be
counted?

Each check is {"score": 0..1 or None, "ok": bool or None, ...}; both are None where it does not apply, and
where it could not be made: then "unknown" says why ("not checked: too costly"). A check finds signs, not
proofs: it is stored and shown beside the answer, and only some failures are worth asking the model again."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from traceback import extract_tb
from typing import Any

from listener.checks import (
    coverage,
    length,
    names,
    negation,
    novelty,
    numbers,
    quotes,
    refusal,
    repetition,
)
from listener.checks import (
    language as language_check,
)
from listener.checks.case import Case, Check
from listener.text.language import base_language, detect_language
from listener.text.reading import Reading

TOO_COSTLY = "not checked: too costly"
_SECONDS = 2.0  # of processor time that all checks together may begin within,
_SECONDS_PER_LETTER = 10e-6  # and for each letter of both texts: several times what prose takes
_RETRY = {
    "summarize": ("length", "language", "repetition", "refusal"),
    "shorten": ("length", "language", "repetition", "refusal", "numbers", "negation"),
}


def run(
    *,
    source: str,
    output: str,
    task: str,
    target_words: int | None = None,
    target_ratio: float | None = None,
    language: str | None = None,
    delimiter: str = "",
) -> dict[str, Check]:
    """All checks by name, one after the other; never fails as a whole: see `unknown()`. `task` is summarize
    or shorten, `language` that asked for ("same" or None: the source's)."""
    spoken = detect_language(source)
    expected = spoken if language in (None, "", "same") else base_language(str(language))
    given = Reading(source, spoken)
    written = given if output == source and expected == spoken else Reading(output, expected)
    case = Case(given, written, task, target_words, target_ratio, expected, spoken, delimiter)
    until = time.thread_time() + _SECONDS + _SECONDS_PER_LETTER * (len(source) + len(output))
    return {name: _made(check, case, until) for name, check in CHECKS.items()}


def _made(check: Callable[[Case], Check], case: Case, until: float) -> Check:
    if time.thread_time() > until:
        return _unknown(TOO_COSTLY)
    try:
        return check(case)
    except MemoryError:
        return _unknown(TOO_COSTLY)
    except Exception as error:  # an edge: the answer stands whatever becomes of a check; the caller logs it
        return _unknown(f"not checked: {_fault(error)}")


def _fault(error: Exception) -> str:
    """What went wrong and where; no word of it is the text's."""
    frames = extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {Path(frames[-1].filename).name}, line {frames[-1].lineno}"


def _unknown(reason: str) -> Check:
    return {"score": None, "ok": None, "unknown": reason}


def not_checked(reason: str = TOO_COSTLY) -> dict[str, Check]:
    """The report on what could not be checked at all."""
    return {name: _unknown(reason) for name in CHECKS}


def unknown(report: Mapping[str, Any]) -> dict[str, str]:
    """The checks that could not be made, with the reason of each."""
    return {name: check["unknown"] for name, check in report.items() if "unknown" in check}


def failed(report: Mapping[str, Any]) -> list[str]:
    """The names of the checks that did not pass."""
    return [name for name, check in report.items() if check["ok"] is False]


def wants_retry(report: Mapping[str, Any], task: str) -> list[str]:
    """The failed checks that one corrective turn may mend."""
    return [name for name in failed(report) if name in _RETRY[task]]


CHECKS: dict[str, Callable[[Case], Check]] = {
    "length": length.check,
    "language": language_check.check,
    "numbers": numbers.check,
    "names": names.check,
    "quotes": quotes.check,
    "novelty": novelty.check,
    "repetition": repetition.check,
    "negation": negation.check,
    "coverage": coverage.check,
    "refusal": refusal.check,
}
