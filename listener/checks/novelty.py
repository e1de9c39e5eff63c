"""How much of the answer's words is new, and how much copied?"""

from listener.checks.case import Case, Check, result
from listener.text.vectors import content_terms

_NOVEL_TERMS = {"summarize": 0.5, "shorten": 0.35}


def check(case: Case) -> Check:
    content = content_terms(case.output.sentence_terms)
    if case.translated or not content:
        return result(None, None)
    novel = len(content - case.source.terms) / len(content)
    return result(1 - novel, novel <= _NOVEL_TERMS[case.task], copied=round(_copied(case), 3))


def _copied(case: Case) -> float:
    """The share of the answer's runs of four words that stand in the source."""
    if case.output is case.source:
        return float(len(case.output.words) > 3)
    return case.source.runs_among(case.output.runs) / max(1, len(case.output.runs))
