"""Makes the answer to an order, in the pieces it is streamed in: the source's own sentences, chosen or
shortened."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from listener.engine.orders import DEFAULT_RATIO, DEFAULT_WORDS, Order
from listener.text.extraction import Extract, extract
from listener.text.language import detect_language
from listener.text.sentences import join_sentences, split_sentences
from listener.text.shortening import shorten
from listener.text.words import count_words

FIELDS = ("title", "summary", "key_points", "language")


class SchemaError(ValueError):
    """A `format` that asks for what an extract does not have; the text says what."""


def compose(order: Order, schema: Any) -> tuple[str, ...]:
    """The pieces of the answer, which make it up when put together. Raises SchemaError."""
    if not schema:
        return tuple(_as_text(order))
    fields = _wanted_fields(schema)
    return (json.dumps(_as_fields(order, fields), ensure_ascii=False),)


def _as_text(order: Order) -> Iterable[str]:
    if order.task == "shorten":
        return shorten(order.document, ratio=_ratio(order)).pieces
    if order.style == "headline":
        return (_extract(order).title,)
    if order.style == "bullets":
        return _separated((f"- {sentence}" for sentence in _extract(order).sentences), "\n")
    if count_words(order.document) <= _words(order):
        return _as_it_is(order.document)
    return _prose(_extract(order))


def _extract(order: Order) -> Extract:
    return extract(order.document, target_words=_words(order))


def _words(order: Order) -> int:
    if order.target_words is None and order.target_ratio is not None:
        return max(1, round(order.target_ratio * count_words(order.document)))
    return order.target_words or DEFAULT_WORDS


def _ratio(order: Order) -> float:
    if order.target_ratio is None and order.target_words is not None:
        return min(1.0, order.target_words / max(1, count_words(order.document)))
    return order.target_ratio or DEFAULT_RATIO


def _prose(found: Extract) -> Iterator[str]:
    for number, paragraph in enumerate(found.paragraphs):
        before = ""
        for sentence in paragraph:
            joined = join_sentences([before, sentence] if before else [sentence])
            yield ("\n\n" if number and not before else "") + joined[len(before) :]
            before = sentence


def _separated(pieces: Iterable[str], separator: str) -> Iterator[str]:
    for number, piece in enumerate(pieces):
        yield (separator if number else "") + piece


def _as_it_is(document: str) -> Iterator[str]:
    """A document that is short enough already, cut after each sentence."""
    position = 0
    for sentence in split_sentences(document):
        end = document.index(sentence, position) + len(sentence)
        yield document[position:end]
        position = end


def _wanted_fields(schema: Any) -> list[str]:
    if schema == "json":
        return list(FIELDS)
    properties = schema.get("properties", {}) if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping) or not properties:
        raise SchemaError('format must be "json" or a JSON schema of an object with properties')
    if unknown := sorted(set(properties) - set(FIELDS)):
        raise SchemaError(f"an extract has no {', '.join(unknown)}: it has {', '.join(FIELDS)}")
    return list(properties)


def _as_fields(order: Order, fields: Iterable[str]) -> dict[str, Any]:
    found = _extract(order)
    values: dict[str, Any] = {
        "title": found.title,
        "summary": "".join(_as_text(order)),
        "key_points": list(found.sentences),
        "language": detect_language(order.document) or "",
    }
    return {name: values[name] for name in fields}
