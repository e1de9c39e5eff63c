"""Is the answer a refusal, empty, or a leak of the prompt?"""

import re

from listener.checks.case import LOOKED_UP, Case, Check, result, some
from listener.text.lexicon import patterns

# Literals, and runs that end by themselves.
_LEAK = re.compile(r'\{"task"\s*+:|\btask card\b|<doc-[0-9a-f]++', re.IGNORECASE)


def check(case: Case) -> Check:
    text = case.output.text
    found = [match[0] for part in (text[:400], text[-300:]) for match in patterns("refusals").finditer(part)]
    found += [match[0] for match in _LEAK.finditer(text)]
    if case.delimiter and case.delimiter in text:
        found.append(case.delimiter)
    source = case.source.text.casefold() if found else ""
    # A text that leaks more often than this leaks.
    found = [phrase for phrase in dict.fromkeys(found[:LOOKED_UP]) if phrase.casefold() not in source]
    empty = not text.strip()
    return result(0.0 if found or empty else 1.0, not found and not empty, found=some(found))
