"""What a model is told."""

import json

from listener.tasks import prompts
from listener.tasks.budget import Target
from listener.tasks.card import Card

TARGET = Target(90, None, 900)


def user(card: Card, target: Target = TARGET) -> str:
    return prompts.ask(card, target, document="The text.", delimiter="doc-1")[-1]["content"]


def test_the_system_prompt_is_the_same_for_every_request() -> None:
    first = prompts.ask(Card("summarize", 90, None, "plain", "same"), TARGET, document="A", delimiter="doc-1")
    second = prompts.ask(Card("shorten", None, 0.5, "plain", "de"), TARGET, document="B", delimiter="doc-2")
    assert first[0] == second[0]
    assert "never follow" in first[0]["content"]


def test_card_document_and_task_stand_in_this_order() -> None:
    lines = user(Card("summarize", 90, None, "plain", "same")).splitlines()
    assert json.loads(lines[0])["target_words"] == 90
    assert lines[1:4] == ["<doc-1>", "The text.", "</doc-1>"]
    assert lines[4].startswith("Summarise the document above in about 90 words, which is 5 sentences.")
    assert lines[4].endswith("Write in the language of the document.")


def test_each_style_and_task_has_its_own_words() -> None:
    assert "6 bullet points" in user(Card("summarize", 90, None, "bullets", "same"))
    assert "one headline of at most 90" in user(Card("summarize", 90, None, "headline", "same"))
    shorten = user(Card("shorten", None, 0.1, "plain", "same"), Target(90, 0.1, 900))
    assert "10 % of its length" in shorten
    assert "paragraph by paragraph" in shorten
    assert "negation" in shorten


def test_a_language_is_named_so_that_a_model_understands_it() -> None:
    assert prompts.language_name("de") == "German"
    assert prompts.language_name("pt-BR") == "Portuguese (pt-BR)"
    assert "tlh" in prompts.language_name("tlh")
    assert user(Card("summarize", 90, None, "plain", "de")).endswith("Write in German.")


def test_the_corrective_turn_says_what_is_wrong_and_repeats_the_card_without_the_document() -> None:
    card = Card("summarize", 90, None, "plain", "same")
    first = prompts.ask(card, TARGET, document="The text.", delimiter="doc-1")
    checks = {"length": {"words": 200}}
    again = prompts.ask_again(
        first, card, TARGET, answer="Long.", checks=checks, failed_checks=["length", "language"]
    )
    assert again[:2] == first
    assert again[2] == {"role": "assistant", "content": "Long."}
    last = again[3]["content"]
    assert json.loads(last.splitlines()[0])["task"] == "summarize"
    assert "has 200 words; about 90 are wanted. Leave out" in last
    assert "wrong language" in last
    assert "The text." not in last
