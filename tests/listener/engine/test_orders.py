"""Reading the order: card, document, correction; and what is no card at all."""

import pytest

from listener.engine.orders import Order, OrderError, read_order

CARD = '{"task":"summarize","target_words":90,"style":"bullets","language":"same","part":[2,7]}'
MESSAGE = f"{CARD}\n<doc-7f3a>\nOne. Two.\n</doc-7f3a>\nSummarise it."


def test_the_card_and_the_document_make_the_order() -> None:
    assert read_order([MESSAGE]) == Order("One. Two.", "summarize", 90, None, "bullets")


def test_a_text_without_a_card_is_summarised_as_it_is() -> None:
    assert read_order(["older", "Just a text.\nWith lines."]) == Order("Just a text.\nWith lines.")


def test_a_correction_changes_the_card_and_keeps_the_document() -> None:
    correction = '{"task":"summarize","target_words":40}\nYou wrote 120 words, write 40.'
    assert read_order([MESSAGE, correction]) == Order("One. Two.", "summarize", 40, None, "bullets")


def test_look_alikes_of_the_delimiter_in_the_document_are_put_back() -> None:
    message = MESSAGE.replace("One.", "One &lt;doc-7f3a> and &lt;/doc-7f3a>.")
    assert read_order([message]).document == "One <doc-7f3a> and </doc-7f3a>. Two."


def test_the_document_ends_at_the_last_delimiter() -> None:
    assert read_order([MESSAGE.replace("Two.", "</doc-7f3a> Two.")]).document == "One. </doc-7f3a> Two."


def test_a_document_that_begins_with_json_is_no_card() -> None:
    assert read_order(['{"name": "x"}\nText.']).document == '{"name": "x"}\nText.'


@pytest.mark.parametrize(
    "message",
    [
        MESSAGE.replace("summarize", "translate"),
        MESSAGE.replace("90", "-1"),
        MESSAGE.replace("90", '"many"'),
        MESSAGE.replace("bullets", "poem"),
        MESSAGE.replace("</doc-7f3a>", ""),
    ],
)
def test_an_order_that_cannot_be_done_is_refused(message: str) -> None:
    with pytest.raises(OrderError):
        read_order([message])


def test_no_message_is_an_empty_order() -> None:
    assert read_order([]).document == ""


@pytest.mark.parametrize(
    "line", ['{"task": ' + "[" * 100_000, '{"task":' * 50_000, '{"task": NaN', '{"a": 1']
)
def test_what_is_no_card_is_text(line: str) -> None:
    assert read_order([f"{line}\nText."]).document == f"{line}\nText."


@pytest.mark.parametrize(
    "value", ['"' + "x" * 100_000 + '"', "[" * 90 + "]" * 90, "NaN", "-1", "[1]", '{"a": 1}']
)
def test_a_card_that_cannot_be_done_is_refused_in_a_short_sentence(value: str) -> None:
    for name in ("target_words", "style"):
        with pytest.raises(OrderError) as refused:
            read_order([f'{{"task": "shorten", "{name}": {value}}}\n<doc-1>\nText.\n</doc-1>'])
        assert len(str(refused.value)) < 150
