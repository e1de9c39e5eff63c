"""Does the answer draw on all parts of the source?"""

from listener.checks.case import LISTED, Case, Check, result
from listener.text.reading import Reading
from listener.text.vectors import nearest, terms

_COVERED = 0.5
_PARTS = 4  # of a source without sections
_COVERAGE_FROM_WORDS = 200


def check(case: Case) -> Check:
    """Whether the answer draws on all parts of the source: a lost middle or a cut prompt shows here."""
    if case.translated or case.source.count < _COVERAGE_FROM_WORDS:
        return result(None, None)
    parts = _parts(case.source)
    sentences = [sentence for sentence in case.output.sentence_terms if len(sentence) > 3]
    if len(parts) < 2 or not sentences:
        return result(None, None)
    drawn_on = set(nearest(sentences, parts))
    score = len(drawn_on) / min(len(parts), len(sentences))
    missing = [part + 1 for part in range(len(parts)) if part not in drawn_on]
    return result(score, score >= _COVERED, parts=len(parts), missing=missing[:LISTED])


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
