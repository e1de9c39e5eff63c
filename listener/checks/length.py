"""Is the answer as long as was asked for?"""

from listener.checks.case import Case, Check, result

SUMMARY_TOLERANCE = 0.2  # of the wanted words
SHORTEN_TOLERANCE = 0.1  # of the source's words


def check(case: Case) -> Check:
    written, given = case.output.count, case.source.count
    facts: Check = {"words": written, "source_words": given, "ratio": round(written / max(1, given), 3)}
    if case.task == "shorten":
        return _ratio(case, facts)
    target = case.target_words or (round(case.target_ratio * given) if case.target_ratio else None)
    if target is None:
        return result(None, written < given, **facts)
    if given <= target:  # nothing to shorten: the source itself is a fair answer
        return result(1.0, written <= given * 1.05 + 2, target_words=target, **facts)
    off = abs(written / target - 1)
    return result(1 - off, off <= SUMMARY_TOLERANCE, target_words=target, **facts)


def _ratio(case: Case, facts: Check) -> Check:
    ratio = case.target_ratio or (
        case.target_words / max(1, facts["source_words"]) if case.target_words else None
    )
    if ratio is None:
        return result(None, facts["words"] < facts["source_words"], **facts)
    off = abs(facts["ratio"] - min(1.0, ratio))
    return result(1 - off, off <= SHORTEN_TOLERANCE, target_ratio=round(ratio, 3), **facts)
