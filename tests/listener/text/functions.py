"""Every function that works on a person's or a model's text, as something to be called with one text.

Those of `listener/text` are found, so that a new one cannot be forgotten: one that takes a text is called
with it as it is; of any other, `HOW` must say how.
"""

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from importlib import import_module
from types import ModuleType
from typing import Any

import listener.text
from listener.checks import case, report
from listener.engine.calls import Call
from listener.engine.composition import compose
from listener.engine.orders import Order, OrderError, read_order
from listener.engine.replies import make_reply
from listener.tasks import cleaner
from listener.tasks.budget import Target
from listener.tasks.card import Card
from listener.tasks.fence import escape, fence, unescape
from listener.tasks.prompts import ask, ask_again
from listener.text import (
    blocks,
    classifier,
    extraction,
    facts,
    lexicon,
    normalisation,
    phrasing,
    ranking,
    repetition,
    sentences,
    shortening,
    vectors,
    words,
)
from listener.text import language as languages
from listener.text.reading import Reading
from tests.listener.text.degenerate import PROSE

Call1 = Callable[[str], Any]

PATTERNS = ("preambles", "closings", "refusals", "boilerplate")
SOME_PROSE = PROSE[:1500] + "\n\n"
WINDOW = 300  # rows of what compares all pairs
CARD = Card(task="shorten", target_words=None, target_ratio=0.5, style="plain", language="same")
TARGET = Target(words=60, ratio=None, source_words=600)


def found(*, thorough: bool = False) -> dict[str, Call1]:
    """All of them by name; `thorough`: also those that only put others together in another way."""
    short = {**dict(_public()), **OTHERS, **dict(_checks()), **dict(_read())}
    return {**short, **PUT_TOGETHER, **dict(_pairs())} if thorough else short


def _modules() -> Iterator[ModuleType]:
    for module in pkgutil.iter_modules(listener.text.__path__):
        yield import_module(f"listener.text.{module.name}")
    yield report


def _public() -> Iterator[tuple[str, Call1]]:
    for module in _modules():
        place = module.__name__.rpartition(".")[2]
        for name, function in inspect.getmembers(module, inspect.isroutine):
            if not name.startswith("_") and getattr(function, "__module__", "") == module.__name__:
                yield f"{place}.{name}", _callable(f"{place}.{name}", function)


def _callable(name: str, function: Any) -> Call1:
    if name in HOW:
        return HOW[name]
    parameters = list(inspect.signature(inspect.unwrap(function)).parameters.values())
    needed = [one for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
    assert [one.annotation for one in needed] == [str], f"HOW must say how {name} takes a text"
    return function  # type: ignore[no-any-return]


def _sentences(text: str) -> list[ranking.Sentence]:
    pieces = sentences.split_sentences(text)
    return [ranking.Sentence(one, n // 5, 0, words=words.count_words(one)) for n, one in enumerate(pieces)]


def _terms(text: str) -> list[list[str]]:
    return [vectors.terms(sentence) for sentence in sentences.split_sentences(text)]


def _parts(text: str) -> list[list[str]]:
    return list(map(vectors.terms, _cut(text, len(text) // 20 + 1)))


HOW: dict[str, Call1] = {
    "blocks.plain_text": lambda text: [
        blocks.plain_text(blocks.Block(kind, text, 0, len(text)))
        for kind in ("heading", "paragraph", "item", "quote", "code", "table")
    ],
    "classifier.tables_descriptor": lambda _: classifier.tables_descriptor(),
    "classifier.map_tables": lambda _: classifier.map_tables(classifier.tables_descriptor()),
    "report.run": lambda text: report.run(source=text, output=text, task="shorten", target_ratio=0.5),
    "report.failed": lambda text: report.failed(report.not_checked(text)),
    "report.unknown": lambda text: report.unknown(report.not_checked(text)),
    "report.wants_retry": lambda text: report.wants_retry(report.not_checked(text), "shorten"),
    "report.not_checked": report.not_checked,
    "facts.numbers": lambda text: [facts.numbers(text, language) for language in ("en", "zh", None)],
    "facts.names": lambda text: facts.names(text, "en"),
    "facts.names_of": lambda text: list(facts.names_of(text)),
    "extraction.extract": lambda text: extraction.extract(text, target_words=len(text) // 12),
    "extraction.best_sentences": lambda text: extraction.best_sentences(text, words=200, title=text),
    "extraction.running_text": lambda text: extraction.running_text(
        extraction.Extract("", tuple(tuple(part.split(" ")) for part in text.split("\n")), 0)
    ),
    "language.warm_up": lambda _: languages.warm_up(),
    "lexicon.lexicon": lexicon.lexicon,
    "lexicon.languages": lambda _: lexicon.languages(),
    "lexicon.patterns": lambda text: [_find_all(lexicon.patterns(name), text) for name in PATTERNS],
    "lexicon.word_pattern": lambda text: [_find_all(_negations(code), text) for code in ("en", "ja", "ar")],
    "lexicon.lower_pattern": lambda text: _find_all(
        lexicon.lower_pattern(lexicon.lexicon("en").modals), text
    ),
    "normalisation.canonical": lambda text: [normalisation.canonical(form, text) for form in ("NFC", "NFD")],  # type: ignore[arg-type]
    "phrasing.tighten": lambda text: [phrasing.tighten(piece, "en") for piece in _cut(text, 1900)],
    "ranking.rank": lambda text: ranking.rank(_sentences(text), title=text, language="en"),
    "ranking.choose": lambda text: ranking.choose(
        ranking.rank(_sentences(text), language="en"), len(text) // 12
    ),
    "repetition.repeated": lambda text: repetition.repeated(
        text.split(), [[one] * 4 for one in text.split()]
    ),
    "sentences.sentences_of": lambda text: [
        sentences.sentences_of(blocks.Block(kind, text, 0, len(text)), "en")
        for kind in ("paragraph", "heading")
    ],
    "sentences.join_sentences": lambda text: sentences.join_sentences(text.split(" ")),
    "shortening.shorten": lambda text: shortening.shorten(text, ratio=0.5),
    "vectors.terms_of": lambda text: vectors.terms_of(words.words(text)),
    "vectors.sentence_vectors": lambda text: [vectors.sentence_vectors(_terms(text)[:WINDOW])],
    "vectors.similarity": lambda text: vectors.similarity(vectors.sentence_vectors(_terms(text)[:WINDOW])),
    "vectors.nearest": lambda text: vectors.nearest(_terms(text), _parts(text)),
    "vectors.content_terms": lambda text: vectors.content_terms(_terms(text)),
    "words.has_more_words": lambda text: words.has_more_words(text, len(text)),
}


def _negations(code: str) -> Any:
    return lexicon.word_pattern(lexicon.lexicon(code).negations)


def _find_all(pattern: Any, text: str) -> int:
    return sum(1 for _ in pattern.finditer(text))


def _cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def _clean_in_pieces(text: str, size: int) -> str:
    one = cleaner.Cleaner(delimiter="doc-7f3a", source=PROSE)
    published = [one.feed(piece) for piece in _cut(text, size)]
    return "".join([*published, one.finish(), one.text])


def _engine(text: str, **order: Any) -> Any:
    return compose(Order(text, **order), None)


def _read_order(*messages: str) -> Any:
    try:
        return read_order(messages)
    except OrderError:  # it says what is wrong
        return None


OTHERS: dict[str, Call1] = {
    "cleaner in one piece": lambda text: _clean_in_pieces(text, len(text) + 1),
    "cleaner in pieces of 1000": lambda text: _clean_in_pieces(text, 1000),
    "cleaner in pieces of 5": lambda text: _clean_in_pieces(text, 5),
    "cleaner after an opening": lambda text: _clean_in_pieces("Sure! " + text, 50),
    "cleaner of its source": lambda text: cleaner.clean(text, source=text),
    "card": lambda text: unescape(fence(escape(text), "doc-7f3a")),
    "prompt": lambda text: ask(CARD, TARGET, document=text, delimiter="doc-7f3a"),
    "corrective turn": lambda text: ask_again(
        [],
        CARD,
        TARGET,
        answer=text,
        checks={"length": {"words": 9}, "numbers": {"invented": [text]}},
        failed_checks=["length", "numbers"],
    ),
    "order without a card": lambda text: _read_order(text),
    "order": lambda text: _read_order(f"{CARD.line()}\n{fence(escape(text), 'doc-7f3a')}\nShorten it."),
    "order in a text": lambda text: _read_order(f'{{"task": "shorten"}}\n<doc-7f3a>{text}'),
    "order of a card": lambda text: _read_order('{"task": ' + text, '{"task": "' + text, text),
    "engine shorten": partial(_engine, task="shorten", target_ratio=0.5),
}

PUT_TOGETHER: dict[str, Call1] = {
    "engine summarize": partial(_engine, target_words=200),
    "engine bullets": partial(_engine, style="bullets", target_ratio=0.3),
    "engine headline": partial(_engine, style="headline"),
    "engine as it is": lambda text: _engine(text, target_words=len(text) + 1),
    "engine fields": lambda text: compose(Order(text), "json"),
    "engine answer": lambda text: make_reply(Call("extractive", (text,), text, num_predict=10**6)),
}


def _checks() -> Iterator[tuple[str, Call1]]:
    """Each check of a text with prose as its answer, and the other way round."""
    for name, check in report.CHECKS.items():
        yield f"check {name} of a source", partial(_check, check, prose_first=False)
        yield f"check {name} of an answer", partial(_check, check, prose_first=True)


def _check(check: Any, text: str, *, prose_first: bool) -> Any:
    return check(_case(PROSE, text) if prose_first else _case(text, PROSE))


def _case(source: str, output: str) -> Any:
    # Prose first, for some checks are made from so many words on only.
    readings = _reading(SOME_PROSE + source), _reading(SOME_PROSE + output)
    return case.Case(*readings, "shorten", None, 0.5, "en", "en", "doc-7f3a")


@lru_cache(maxsize=4)
def _reading(text: str) -> Reading:
    """What the checks share is read once for all of them: it is measured by itself."""
    return Reading(text, "en")


def _read() -> Iterator[tuple[str, Call1]]:
    """Each property of a reading."""
    for name in (name for name in vars(Reading) if not name.startswith("_")):
        if not callable(getattr(Reading, name)):
            yield f"reading {name}", partial(_look, name)
    yield "reading knows", lambda text: [Reading(text, "en").knows(one) for one in (text, "http://a", "Word")]
    yield "reading hedges", lambda text: Reading(text, "en").hedges("en")


def _look(name: str, text: str) -> Any:
    return getattr(Reading(text, "en"), name)


def _pairs() -> Iterator[tuple[str, Call1]]:
    """What takes two texts: also two that differ a little, so that nothing of the one is the other's."""
    yield "looping", lambda text: repetition.looping(text, source=text[1:])
    yield "report.run of another", lambda text: report.run(source=text, output=text[1:], task="summarize")
    yield "report.run of prose", lambda text: report.run(source=PROSE, output=text, task="shorten")
    yield "report.run for prose", lambda text: report.run(source=text, output=PROSE, task="summarize")
