"""Does each name of the answer stand in the source?"""

from listener.checks.case import Case, Check, result, share, some

_CASE_OF_NOUNS = {"de", "lb"}  # every noun is capitalised: compounds of the model's own are no invented names
_NOUNS_SUPPORTED = 0.7


def check(case: Case) -> Check:
    written = case.output.names
    invented = [name for name in written if not case.source.knows(name)]
    facts: Check = {"invented": some(invented)}
    if case.task == "shorten":
        facts["lost"] = some(name for name in case.source.names if not case.output.knows(name))
    score = share(written, invented)
    needed = _NOUNS_SUPPORTED if case.expected in _CASE_OF_NOUNS else 1.0
    # Names have other spellings in other languages: listed, but not judged.
    return result(score, None if case.translated or score is None else score >= needed, **facts)
