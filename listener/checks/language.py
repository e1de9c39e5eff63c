"""Is the answer in the language that was asked for?"""

from listener.checks.case import Case, Check, result
from listener.text.language import likely_languages


def check(case: Case) -> Check:
    found = likely_languages(case.output.text)
    if not found or not case.expected:
        return result(None, None, expected=case.expected, found=list(found))
    place = found.index(case.expected) if case.expected in found else 2
    return result(1 - place / 2, place < 2, expected=case.expected, found=list(found))
