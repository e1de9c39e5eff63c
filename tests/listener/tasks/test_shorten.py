"""The task `shorten`."""

import json

import pytest

from listener.tasks.request import Request
from listener.tasks.shorten import shorten
from tests.listener.tasks.script import Heard, Script, here, sentences

SOURCE = sentences(20)


@pytest.mark.parametrize("target", [{"target_ratio": 0.5}, {"target_words": 100}, {}])
async def test_the_ratio_is_asked_for_and_measured(target: dict[str, float]) -> None:
    model = Script([sentences(10)])
    request = Request("shorten", SOURCE, **target)  # type: ignore[arg-type]
    result = await shorten(request, model=model, emit=Heard().emit, offload=here)
    card = json.loads(model.asked[0][-1]["content"].splitlines()[0])
    assert (card["task"], card["target_ratio"]) == ("shorten", pytest.approx(0.5, abs=0.05))
    assert result.checks["length"]["ok"]
    assert result.checks["negation"]


async def test_a_text_that_is_short_enough_is_left_alone() -> None:
    result = await shorten(
        Request("shorten", SOURCE, target_words=5000), model=Script([]), emit=Heard().emit, offload=here
    )
    assert (result.body, result.engine["engine"]) == (SOURCE, "passthrough")


async def test_a_changed_number_is_worth_a_second_call() -> None:
    source = SOURCE + " The repair will cost 38 million pounds in all this year."
    answers = [
        f"{sentences(9)} The repair will cost {cost} million pounds in all this year." for cost in (83, 38)
    ]
    model = Script(answers)
    result = await shorten(
        Request("shorten", source, target_ratio=0.5), model=model, emit=Heard().emit, offload=here
    )
    assert "38 million" in result.body
    assert "does not say 83" in model.asked[1][-1]["content"]


async def test_a_table_that_repeats_itself_is_no_loop() -> None:
    table = "\n".join("| gauge | open | closed | open | closed | steady |" for _ in range(60))
    model = Script([f"{sentences(8)}\n\n{table}"])
    request = Request("shorten", f"{SOURCE}\n\n{table}", target_ratio=0.7)
    result = await shorten(request, model=model, emit=Heard().emit, offload=here)
    assert table in result.body
