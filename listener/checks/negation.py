"""Has a shortened text kept its "not" and "may"?"""

from listener.checks.case import Case, Check, result


def check(case: Case) -> Check:
    """Of a shortened text: "not" and "may" must not get lost faster than the words around them."""
    if case.task != "shorten" or case.translated:
        return result(None, None)
    given, kept = case.source.hedges(case.spoken), case.output.hedges(case.spoken)
    facts = {"source": given, "output": kept}
    if not given:
        return result(None, None, **facts)
    share = kept / given
    wanted = 0.8 * min(1.0, case.output.count / max(1, case.source.count))
    return result(min(1.0, share), wanted <= share <= 1.5 or abs(given - kept) <= 1, **facts)
