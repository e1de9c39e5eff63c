"""Reads what a chat asks for: the task card in its first line, and the document between its delimiters.

Knows the prompt's layout and nothing of how the task is done."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

DEFAULT_WORDS = 120
DEFAULT_RATIO = 0.6
_SHOWN_LETTERS = 60
_TASKS = ("summarize", "shorten")
_STYLES = ("plain", "bullets", "headline")
_OPENING = re.compile(r"<(doc-[0-9a-fA-F]+)>\n?")
_ESCAPED = re.compile(r"&lt;(/?doc-)")


class OrderError(ValueError):
    """An order that cannot be carried out; the text says why."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to do with which document. Without a target, the task's default holds."""

    document: str
    task: Literal["summarize", "shorten"] = "summarize"
    target_words: int | None = None
    target_ratio: float | None = None
    style: Literal["plain", "bullets", "headline"] = "plain"


def read_order(messages: Sequence[str]) -> Order:
    """The order in the texts of a chat's user messages, oldest first. Raises OrderError.

    The newest message that holds a card and a document counts; a card in a newer one, as in a corrective
    turn, overrides what it names. Without a card the newest message is summarised as it is."""
    card: dict[str, Any] = {}
    for message in reversed(messages):
        found, body = _split_card(message)
        card = {**found, **card}
        document = _document(body) if found else None
        if document is not None:
            return _order(card, document)
    newest = messages[-1] if messages else ""
    card, body = _split_card(newest)
    return _order(card, body if card else newest)


def _split_card(message: str) -> tuple[dict[str, Any], str]:
    """The card in the first line and the rest; an empty card if the line is none."""
    line, _, rest = message.partition("\n")
    if not line.startswith("{"):
        return {}, message
    try:
        card = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, or nested deeper than any card
        return {}, message
    return (card, rest) if isinstance(card, dict) and "task" in card else ({}, message)


def _document(body: str) -> str | None:
    """What stands between the delimiters, with what was escaped in it put back."""
    opening = _OPENING.search(body)
    if not opening:
        return None
    end = body.rfind(f"</{opening[1]}>")
    if end < opening.end():
        raise OrderError(f"the document has no end: </{opening[1]}> is missing")
    return _ESCAPED.sub(r"<\1", body[opening.end() : end]).strip("\n")


def _order(card: Mapping[str, Any], document: str) -> Order:
    return Order(
        document,
        task=_one_of(card, "task", _TASKS),
        target_words=_number(card, "target_words", int, 100_000),
        target_ratio=_number(card, "target_ratio", float, 1.0),
        style=_one_of(card, "style", _STYLES),
    )


def _one_of(card: Mapping[str, Any], name: str, allowed: Sequence[str]) -> Any:
    value = card.get(name) or allowed[0]
    if value not in allowed:
        raise OrderError(f"{name} {_shown(value)} is none of {', '.join(allowed)}")
    return value


def _number(card: Mapping[str, Any], name: str, kind: type, most: float) -> Any:
    value = card.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
        raise OrderError(f"{name} {_shown(value)} is no number above 0 and up to {most:g}")
    return kind(value)


def _shown(value: Any) -> str:
    """A value of the card for a person: not all of a long one, nothing of a nested one."""
    return repr(value)[:_SHOWN_LETTERS] if isinstance(value, (str, int, float)) else "of that kind"
