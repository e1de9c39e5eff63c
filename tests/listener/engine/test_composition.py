"""Composing: each task and style, in pieces that make up the text."""

import json
from typing import Any

import pytest

from listener.engine.composition import SchemaError, compose
from listener.engine.orders import Order
from listener.text.words import count_words
from tests.listener.text.corpus import CORPUS

BRIDGE, MEMO = CORPUS[0].text, CORPUS[1].text


def _compose(order: Order, schema: Any = None) -> tuple[str, ...]:
    return compose(order, schema)


def test_a_summary_comes_sentence_by_sentence() -> None:
    pieces = _compose(Order(BRIDGE, target_words=60))
    assert len(pieces) >= 3
    assert 48 <= count_words("".join(pieces)) <= 72
    assert all(piece.strip()[-1] == "." for piece in pieces)


def test_without_a_target_a_summary_has_about_a_hundred_and_twenty_words() -> None:
    assert 96 <= count_words("".join(_compose(Order(BRIDGE)))) <= 144


def test_a_ratio_is_a_target_too() -> None:
    assert count_words("".join(_compose(Order(BRIDGE, target_ratio=0.2)))) == pytest.approx(59, abs=12)


def test_bullets_are_one_sentence_each() -> None:
    lines = "".join(_compose(Order(MEMO, target_words=60, style="bullets"))).split("\n")
    assert len(lines) >= 3
    assert all(line.startswith("- ") for line in lines)


def test_a_headline_is_the_title() -> None:
    assert _compose(Order(MEMO, style="headline")) == ("Moving our backups off tape",)


def test_a_text_below_the_target_comes_back_as_it_is() -> None:
    pieces = _compose(Order("# Head\n\nOne. Two.\n\n- three", target_words=50))
    assert "".join(pieces) == "# Head\n\nOne. Two.\n\n- three"
    assert len(pieces) == 4


def test_shorten_keeps_the_structure_and_the_ratio() -> None:
    text = "".join(_compose(Order(MEMO, task="shorten", target_ratio=0.7)))
    assert text.startswith("# Moving our backups off tape\n\n## Why now\n\n")
    assert 0.6 <= count_words(text) / count_words(MEMO) <= 0.8


def test_shorten_takes_words_for_its_target_too() -> None:
    text = "".join(_compose(Order(BRIDGE, task="shorten", target_words=200)))
    assert 170 <= count_words(text) <= 230


def test_chinese_sentences_are_put_together_without_blanks() -> None:
    (chinese,) = (sample.text for sample in CORPUS if sample.name == "zh_dianche")
    assert " " not in "".join(_compose(Order(chinese, target_words=120)))


def test_a_schema_is_filled_with_what_it_names() -> None:
    (answer,) = _compose(
        Order(BRIDGE, target_words=60), {"type": "object", "properties": {"title": {}, "key_points": {}}}
    )
    assert set(json.loads(answer)) == {"title", "key_points"}


def test_json_without_a_schema_has_every_field() -> None:
    (answer,) = _compose(Order(BRIDGE, target_words=60), "json")
    assert json.loads(answer)["language"] == "en"


@pytest.mark.parametrize(
    "schema", ["xml", 7, {"type": "object"}, {"properties": {"mood": {"type": "string"}}}]
)
def test_a_schema_that_an_extract_cannot_fill_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaError):
        _compose(Order(BRIDGE), schema)


def test_an_empty_document_gives_an_empty_answer() -> None:
    assert "".join(_compose(Order(""))) == ""
