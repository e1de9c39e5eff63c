"""Does each quotation of the answer stand in the source?"""

from listener.checks.case import LOOKED_UP, Case, Check, result, share, some
from listener.text.reading import Reading


def check(case: Case) -> Check:
    """Of very many quotations the first are judged: to look for each reads the whole source."""
    written = case.output.quotations
    judged = written[:LOOKED_UP]
    invented = [quote for quote in judged if Reading(quote, None).bare not in case.source.bare]
    facts: Check = {"invented": some(invented)}
    if len(judged) < len(written):
        facts |= {"judged": len(judged), "of": len(written)}
    ok = None if not written or case.translated else not invented
    return result(share(judged, invented), ok, **facts)
