"""Does each number of the answer stand in the source?"""

from listener.checks.case import Case, Check, result, share, some


def check(case: Case) -> Check:
    given, written = case.source, case.output
    invented = [number.written for number in written.numbers if not number.values & given.values]
    facts: Check = {"invented": some(invented)}
    if case.task == "shorten":
        facts["lost"] = some(n.written for n in given.numbers if not n.values & written.values)
    return result(share(written.numbers, invented), not invented if written.numbers else None, **facts)
