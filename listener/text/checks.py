"""Checks an answer against its source without a model: is it as long, in the language, and as true as can be
counted?

Each check is {"score": 0..1 or None, "ok": bool or None, ...}; None where it does not apply. A check finds
signs, not proofs: it is stored and shown beside the answer, and only some failures are worth asking the
model again."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from listener.text import claims, repetition
from listener.text.blocks import split_blocks
from listener.text.language import base_language, detect_language, likely_languages
from listener.text.lexicon import lexicon, patterns, word_pattern
from listener.text.sentences import split_sentences
from listener.text.vectors import content_terms, sentence_vectors, terms
from listener.text.words import count_words, words

Check = dict[str, Any]

SUMMARY_TOLERANCE = 0.2  # of the wanted words
SHORTEN_TOLERANCE = 0.1  # of the source's words
TOO_COSTLY = "not checked: too costly"
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
_LEAK = re.compile(r'\{"task"\s*:|\btask card\b|<doc-[0-9a-f]+', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Case:
    source: str
    output: str
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
    """All checks by name. `task` is summarize or shorten, `language` that asked for ("same" or None: the
    source's)."""
    spoken = detect_language(source)
    expected = spoken if language in (None, "", "same") else base_language(str(language))
    case = _Case(source, output, task, target_words, target_ratio, expected, spoken, delimiter)
    return {name: check(case) for name, check in _CHECKS.items()}


def not_checked(reason: str = TOO_COSTLY) -> dict[str, Check]:
    """The report on what could not be checked at all."""
    return {name: {"score": None, "ok": None, "unknown": reason} for name in _CHECKS}


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
    written, given = count_words(case.output), count_words(case.source)
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
    found = likely_languages(case.output)
    if not found or not case.expected:
        return _result(None, None, expected=case.expected, found=list(found))
    place = found.index(case.expected) if case.expected in found else 2
    return _result(1 - place / 2, place < 2, expected=case.expected, found=list(found))


def _check_numbers(case: _Case) -> Check:
    given = claims.numbers(case.source, case.spoken)
    written = claims.numbers(case.output, case.expected)
    known = {value for number in given for value in number.values}
    invented = [number.written for number in written if not number.values & known]
    facts: Check = {"invented": _some(invented)}
    if case.task == "shorten":
        kept = {value for number in written for value in number.values}
        facts["lost"] = _some(number.written for number in given if not number.values & kept)
    return _result(_share(written, invented), not invented if written else None, **facts)


def _check_names(case: _Case) -> Check:
    written = claims.names(case.output, case.expected)
    known = _known_names(case.source)
    invented = [name for name in written if not _is_known(name, known, case.source)]
    facts: Check = {"invented": _some(invented)}
    if case.task == "shorten":
        kept = _known_names(case.output)
        facts["lost"] = _some(
            n for n in claims.names(case.source, case.spoken) if not _is_known(n, kept, case.output)
        )
    score = _share(written, invented)
    needed = _NOUNS_SUPPORTED if case.expected in _CASE_OF_NOUNS else 1.0
    # Names have other spellings in other languages: listed, but not judged.
    return _result(score, None if case.translated or score is None else score >= needed, **facts)


def _known_names(text: str) -> set[str]:
    return {claims.fold(word)[:length] for word in set(words(text)) for length in range(3, len(word) + 1)}


def _is_known(name: str, known: set[str], text: str) -> bool:
    """Whether the text has the name, allowing for another case ending of a long word."""
    if "://" in name or "@" in name:
        return name.rstrip(".,;") in text
    parts = [claims.fold(part) for part in words(name) if len(part) > 2]
    return all(part[: max(4, len(part) - 3)] in known or part in known for part in parts)


def _check_quotes(case: _Case) -> Check:
    written = claims.quotations(case.output)
    source = _bare(case.source)
    invented = [quote for quote in written if _bare(quote) not in source]
    judged = None if not written or case.translated else not invented
    return _result(_share(written, invented), judged, invented=_some(invented))


def _bare(text: str) -> str:
    return " ".join(words(text.casefold()))


def _check_novelty(case: _Case) -> Check:
    written = [terms(sentence) for sentence in split_sentences(case.output, case.expected)]
    content = content_terms(written)
    if case.translated or not content:
        return _result(None, None)
    known = set(terms(case.source))
    novel = len(content - known) / len(content)
    return _result(1 - novel, novel <= _NOVEL_TERMS[case.task], copied=round(_copied(case), 3))


def _copied(case: _Case) -> float:
    """The share of the answer's runs of four words that stand in the source."""
    runs = _runs(case.output)
    return len(runs & _runs(case.source)) / max(1, len(runs))


def _runs(text: str) -> set[tuple[str, ...]]:
    found = words(text.casefold())
    return {tuple(found[at : at + 4]) for at in range(len(found) - 3)}


def _check_repetition(case: _Case) -> Check:
    twice = [s for s in repetition.repeated_sentences(case.output) if case.source.count(s) < 2]
    total = len(split_sentences(case.output, case.expected))
    loops = repetition.looping(case.output, source=case.source)
    score = 0.0 if loops else 1 - len(twice) / max(1, total)
    return _result(score, not twice and not loops, repeated=_some(twice), looping=loops)


def _check_negation(case: _Case) -> Check:
    """Of a shortened text: "not" and "may" must not get lost faster than the words around them."""
    if case.task != "shorten" or case.translated:
        return _result(None, None)
    given, kept = _hedges(case.source, case.spoken), _hedges(case.output, case.spoken)
    facts = {"source": sum(given.values()), "output": sum(kept.values())}
    if not facts["source"]:
        return _result(None, None, **facts)
    share = facts["output"] / facts["source"]
    wanted = 0.8 * min(1.0, count_words(case.output) / max(1, count_words(case.source)))
    return _result(
        min(1.0, share), wanted <= share <= 1.5 or abs(facts["source"] - facts["output"]) <= 1, **facts
    )


def _hedges(text: str, language: str | None) -> Counter[str]:
    found = lexicon(language)
    return Counter(map(str.lower, word_pattern(found.negations + found.modals).findall(text)))


def _check_coverage(case: _Case) -> Check:
    """Whether the answer draws on all parts of the source: a lost middle or a cut prompt shows here."""
    parts = _parts(case.source)
    sentences = [terms(sentence) for sentence in split_sentences(case.output, case.expected)]
    sentences = [sentence for sentence in sentences if len(sentence) > 3]
    if case.translated or len(parts) < 2 or not sentences or count_words(case.source) < _COVERAGE_FROM_WORDS:
        return _result(None, None)
    matrix = sentence_vectors([*parts, *sentences])
    nearest = set((matrix[len(parts) :] @ matrix[: len(parts)].T).argmax(axis=1).tolist())
    score = len(nearest) / min(len(parts), len(sentences))
    missing = [part + 1 for part in range(len(parts)) if part not in nearest]
    return _result(score, score >= _COVERED, parts=len(parts), missing=missing[:_LISTED])


def _parts(text: str) -> list[list[str]]:
    """The terms of each section; of each quarter where a text has no sections."""
    sections: list[list[str]] = [[]]
    for block in split_blocks(text):
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
    beginning, ending = case.output[:400], case.output[-300:]
    found = [match[0] for text in (beginning, ending) for match in patterns("refusals").finditer(text)]
    found += [match[0] for match in _LEAK.finditer(case.output)]
    if case.delimiter and case.delimiter in case.output:
        found.append(case.delimiter)
    found = [phrase for phrase in dict.fromkeys(found) if phrase.casefold() not in case.source.casefold()]
    empty = not case.output.strip()
    return _result(0.0 if found or empty else 1.0, not found and not empty, found=_some(found))


_CHECKS: dict[str, Callable[[_Case], Check]] = {
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
    return list(dict.fromkeys(found))[:_LISTED]
