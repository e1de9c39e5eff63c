"""How long an answer should be, and what fits."""

import pytest

from listener.errors import PermanentError
from listener.tasks import budget
from listener.tasks.budget import target_of
from listener.tasks.request import Request
from listener.text.words import count_words
from tests.listener.tasks.script import Script, sentences


@pytest.mark.parametrize(
    ("words", "expected"), [(2000, 250), (1000, 150), (200, 60)], ids=["long", "medium", "short"]
)
def test_a_summary_without_a_target_is_a_sensible_share(words: int, expected: int) -> None:
    assert target_of(Request("summarize", ""), words).words == expected


def test_words_and_ratio_are_taken_at_their_word() -> None:
    assert target_of(Request("summarize", "", target_words=42), 1000).words == 42
    assert target_of(Request("summarize", "", target_ratio=0.3), 1000).words == 300
    assert target_of(Request("shorten", "", target_ratio=0.3), 1000).words == 300
    assert target_of(Request("shorten", "", target_words=250), 1000).ratio == 0.25
    assert target_of(Request("shorten", ""), 1000).ratio == 0.5


def test_a_headline_is_short() -> None:
    assert target_of(Request("summarize", "", style="headline"), 1000).words == 12


def test_an_answer_gets_room_for_its_words_in_the_tokens_of_its_text() -> None:
    english, chinese = (
        "The council mended the bridge. " * 20,
        "\u6865\u6881\u5df2\u7ecf\u4fee\u597d\u4e86\u3002" * 20,
    )
    model = Script([])
    rooms = []
    for text in (english, chinese):
        request = Request("summarize", text, target_words=50)
        target = target_of(request, count_words(text))
        rooms.append(budget.answer_tokens(request, target, model.estimate(text), model))
    assert rooms[0] > 50 * 1.6
    assert rooms[1] > 50 * 1.6


def test_a_thinking_model_gets_room_to_think() -> None:
    request = Request("summarize", sentences(20), target_words=50)
    target = target_of(request, 200)
    plain, thinking = (
        budget.answer_tokens(request, target, 300, Script([], thinks=thinks)) for thinks in (False, True)
    )
    assert thinking - plain == budget.THINKING_TOKENS


def test_what_does_not_fit_is_refused_with_both_lengths() -> None:
    model = Script([], context_tokens=1000)
    budget.check_fit(600, 200, model)
    with pytest.raises(PermanentError) as refused:
        budget.check_fit(1500, 200, model)
    assert refused.value.code == "input_too_long"
    assert "room for 700" in refused.value.message
