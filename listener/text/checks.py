"""Checks an answer against its source without a model: is it as long, in the language, and as true as can be
counted?

Each check is {"score": 0..1 or None, "ok": bool or None, ...}; both are None where it does not apply, and
where it could not be made: then "unknown" says why ("not checked: too costly"). A check finds signs, not
proofs: it is stored and shown beside the answer, and only some failures are worth asking the model again."""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Any

from listener.text import repetition
from listener.text.language import base_language, detect_language, likely_languages
from listener.text.lexicon import patterns
from listener.text.reading import Reading
from listener.text.vectors import content_terms, nearest, terms

Check = dict[str, Any]

SUMMARY_TOLERANCE = 0.2  # of the wanted words
SHORTEN_TOLERANCE = 0.1  # of the source's words
TOO_COSTLY = "not checked: too costly"
_SECONDS = 2.0  # of processor time that all checks together may begin within,
_SECONDS_PER_LETTER = 10e-6  # and for each letter of both texts: several times what prose takes
_LOOKED_UP = 200  # findings that are looked for in the whole text; each reads it once
_LISTED_LETTERS = 500
_LISTED = 20  # findings that are named at most
_NOVEL_TERMS = {"summarize": 0.5, "shorten": 0.35}
_CASE_OF_NOUNS = {"de", "lb"}  # every noun is capitalised: compounds of the model's own are no invented names
_NOUNS_SUPPORTED = 0.7
_COVERED = 0.5
_PARTS = 4  # of a source without sections
_COVERAGE_FROM_WORDS = 200
_RETRY = {
    "summarize": ("length", "language", "repetition", "refusal"),
    "shorten": ("length", "language", "repetition", "refusal", "numbers", "negation"),
}
# Literals, and runs that end by themselves.
_LEAK = re.compile(r'\{"task"\s*+:|\btask card\b|<doc-[0-9a-f]++', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Case:
    source: Reading
    output: Reading
    task: str
    target_words: int | None
    target_ratio: float | None
    expected: str | None  # language of the answer
    spoken: str | None  # language of the source
    delimiter: str

    @property
    def translated(self) -> bool:
        return bool(self.expected and self.spoken and self.expected != self.spoken)


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
    case = _Case(given, written, task, target_words, target_ratio, expected, spoken, delimiter)
    until = time.thread_time() + _SECONDS + _SECONDS_PER_LETTER * (len(source) + len(output))
    return {name: _made(check, case, until) for name, check in CHECKS.items()}


def _made(check: Callable[[_Case], Check], case: _Case, until: float) -> Check:
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


def _check_length(case: _Case) -> Check:
    written, given = case.output.count, case.source.count
    facts: Check = {"words": written, "source_words": given, "ratio": round(written / max(1, given), 3)}
    if case.task == "shorten":
        return _check_ratio(case, facts)
    target = case.target_words or (round(case.target_ratio * given) if case.target_ratio else None)
    if target is None:
        return _result(None, written < given, **facts)
    if given <= target:  # nothing to shorten: the source itself is a fair answer
        return _result(1.0, written <= given * 1.05 + 2, target_words=target, **facts)
    off = abs(written / target - 1)
    return _result(1 - off, off <= SUMMARY_TOLERANCE, target_words=target, **facts)


def _check_ratio(case: _Case, facts: Check) -> Check:
    ratio = case.target_ratio or (
        case.target_words / max(1, facts["source_words"]) if case.target_words else None
    )
    if ratio is None:
        return _result(None, facts["words"] < facts["source_words"], **facts)
    off = abs(facts["ratio"] - min(1.0, ratio))
    return _result(1 - off, off <= SHORTEN_TOLERANCE, target_ratio=round(ratio, 3), **facts)


def _check_language(case: _Case) -> Check:
    found = likely_languages(case.output.text)
    if not found or not case.expected:
        return _result(None, None, expected=case.expected, found=list(found))
    place = found.index(case.expected) if case.expected in found else 2
    return _result(1 - place / 2, place < 2, expected=case.expected, found=list(found))


def _check_numbers(case: _Case) -> Check:
    given, written = case.source, case.output
    invented = [number.written for number in written.numbers if not number.values & given.values]
    facts: Check = {"invented": _some(invented)}
    if case.task == "shorten":
        facts["lost"] = _some(n.written for n in given.numbers if not n.values & written.values)
    return _result(_share(written.numbers, invented), not invented if written.numbers else None, **facts)


def _check_names(case: _Case) -> Check:
    written = case.output.names
    invented = [name for name in written if not case.source.knows(name)]
    facts: Check = {"invented": _some(invented)}
    if case.task == "shorten":
        facts["lost"] = _some(name for name in case.source.names if not case.output.knows(name))
    score = _share(written, invented)
    needed = _NOUNS_SUPPORTED if case.expected in _CASE_OF_NOUNS else 1.0
    # Names have other spellings in other languages: listed, but not judged.
    return _result(score, None if case.translated or score is None else score >= needed, **facts)


def _check_quotes(case: _Case) -> Check:
    """Of very many quotations the first are judged: to look for each reads the whole source."""
    written = case.output.quotations
    judged = written[:_LOOKED_UP]
    invented = [quote for quote in judged if Reading(quote, None).bare not in case.source.bare]
    facts: Check = {"invented": _some(invented)}
    if len(judged) < len(written):
        facts |= {"judged": len(judged), "of": len(written)}
    ok = None if not written or case.translated else not invented
    return _result(_share(judged, invented), ok, **facts)


def _check_novelty(case: _Case) -> Check:
    content = content_terms(case.output.sentence_terms)
    if case.translated or not content:
        return _result(None, None)
    novel = len(content - case.source.terms) / len(content)
    return _result(1 - novel, novel <= _NOVEL_TERMS[case.task], copied=round(_copied(case), 3))


def _copied(case: _Case) -> float:
    """The share of the answer's runs of four words that stand in the source."""
    if case.output is case.source:
        return float(len(case.output.words) > 3)
    return case.source.runs_among(case.output.runs) / max(1, len(case.output.runs))


def _check_repetition(case: _Case) -> Check:
    written, source = case.output, case.source
    twice = repetition.said_again(written.sentences, written.sentence_terms)
    # What the source says twice may be said twice: its sentences are compared, and for a few its text too.
    twice = [
        sentence
        for place, sentence in enumerate(twice)
        if source.said[tuple(terms(sentence))] < 2
        and (place >= _LOOKED_UP or source.text.count(sentence) < 2)
    ]
    loops = repetition.looping(written.text, source=source.text)
    score = 0.0 if loops else 1 - len(twice) / max(1, len(written.sentences))
    return _result(score, not twice and not loops, repeated=_some(twice), looping=loops)


def _check_negation(case: _Case) -> Check:
    """Of a shortened text: "not" and "may" must not get lost faster than the words around them."""
    if case.task != "shorten" or case.translated:
        return _result(None, None)
    given, kept = case.source.hedges(case.spoken), case.output.hedges(case.spoken)
    facts = {"source": given, "output": kept}
    if not given:
        return _result(None, None, **facts)
    share = kept / given
    wanted = 0.8 * min(1.0, case.output.count / max(1, case.source.count))
    return _result(min(1.0, share), wanted <= share <= 1.5 or abs(given - kept) <= 1, **facts)


def _check_coverage(case: _Case) -> Check:
    """Whether the answer draws on all parts of the source: a lost middle or a cut prompt shows here."""
    if case.translated or case.source.count < _COVERAGE_FROM_WORDS:
        return _result(None, None)
    parts = _parts(case.source)
    sentences = [sentence for sentence in case.output.sentence_terms if len(sentence) > 3]
    if len(parts) < 2 or not sentences:
        return _result(None, None)
    drawn_on = set(nearest(sentences, parts))
    score = len(drawn_on) / min(len(parts), len(sentences))
    missing = [part + 1 for part in range(len(parts)) if part not in drawn_on]
    return _result(score, score >= _COVERED, parts=len(parts), missing=missing[:_LISTED])


def _parts(source: Reading) -> list[list[str]]:
    """The terms of each section; of each quarter where a text has no sections."""
    sections: list[list[str]] = [[]]
    for block in source.blocks:
        if block.kind == "heading" and sections[-1]:
            sections.append([])
        sections[-1] += terms(block.text)
    total = sum(map(len, sections))
    large = [section for section in sections if len(section) >= 0.04 * total]
    if len(large) > 1:
        return large
    found = [term for section in sections for term in section]
    size = -(-len(found) // _PARTS) or 1
    return [found[at : at + size] for at in range(0, len(found), size)]


def _check_refusal(case: _Case) -> Check:
    text = case.output.text
    found = [match[0] for part in (text[:400], text[-300:]) for match in patterns("refusals").finditer(part)]
    found += [match[0] for match in _LEAK.finditer(text)]
    if case.delimiter and case.delimiter in text:
        found.append(case.delimiter)
    source = case.source.text.casefold() if found else ""
    # A text that leaks more often than this leaks.
    found = [phrase for phrase in dict.fromkeys(found[:_LOOKED_UP]) if phrase.casefold() not in source]
    empty = not text.strip()
    return _result(0.0 if found or empty else 1.0, not found and not empty, found=_some(found))


CHECKS: dict[str, Callable[[_Case], Check]] = {
    "length": _check_length,
    "language": _check_language,
    "numbers": _check_numbers,
    "names": _check_names,
    "quotes": _check_quotes,
    "novelty": _check_novelty,
    "repetition": _check_repetition,
    "negation": _check_negation,
    "coverage": _check_coverage,
    "refusal": _check_refusal,
}


def _result(score: float | None, ok: bool | None, **facts: Any) -> Check:
    return {"score": None if score is None else round(max(0.0, min(1.0, score)), 3), "ok": ok, **facts}


def _share(found: Sequence[Any], bad: Sequence[Any]) -> float | None:
    return 1 - len(bad) / len(found) if found else None


def _some(found: Iterable[str]) -> list[str]:
    """A few of the findings, and of a long one its beginning."""
    return [one[:_LISTED_LETTERS] for one in list(dict.fromkeys(found))[:_LISTED]]
