"""Does the answer say something twice, or run in a loop?"""

from listener.checks.case import LOOKED_UP, Case, Check, result, some
from listener.text import repetition
from listener.text.vectors import terms


def check(case: Case) -> Check:
    written, source = case.output, case.source
    twice = repetition.repeated(written.sentences, written.sentence_terms)
    # What the source says twice may be said twice: its sentences are compared, and for a few its text too.
    twice = [
        sentence
        for place, sentence in enumerate(twice)
        if source.said[tuple(terms(sentence))] < 2 and (place >= LOOKED_UP or source.text.count(sentence) < 2)
    ]
    loops = repetition.looping(written.text, source=source.text)
    score = 0.0 if loops else 1 - len(twice) / max(1, len(written.sentences))
    return result(score, not twice and not loops, repeated=some(twice), looping=loops)
