"""A task from request to result: streamed, cleaned, measured, corrected once, the better answer kept."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from listener.errors import PermanentError, TransientError
from listener.offload.errors import BrokenOffError, OffloadError, TooCostlyError
from listener.offload.pool import Offload
from listener.tasks import answering, measuring
from listener.tasks.budget import target_of
from listener.tasks.measuring import measure_source
from listener.tasks.request import Request, Result
from tests.listener.tasks.script import Heard, Script, here, sentences

T = TypeVar("T")

SOURCE = sentences(60)
WANTED = Request("summarize", SOURCE, target_words=100)
GOOD, LONG, SHORT = sentences(10), sentences(25), sentences(3)


async def run(request: Request, model: Script, heard: Heard | None = None, offload: Offload = here) -> Result:
    source = measure_source(request.text)
    work = answering.Answering(request, source, target_of(request, source.words), model, offload)
    return await answering.answer(work, (heard or Heard()).emit)


async def test_a_good_answer_needs_one_call_and_is_described() -> None:
    model = Script([GOOD])
    result = await run(WANTED, model)
    assert result.body == GOOD
    assert result.checks["length"]["ok"]
    assert result.engine["engine"] == "ollama"
    assert result.engine["model"] == "scripted:latest"
    assert (result.engine["calls"], result.engine["corrected"], result.engine["prompt_tokens"]) == (
        1,
        False,
        10,
    )


async def test_an_answer_of_the_wrong_length_is_asked_for_once_more() -> None:
    model = Script([LONG, GOOD])
    result = await run(WANTED, model)
    assert (result.body, result.engine["calls"], result.engine["corrected"]) == (GOOD, 2, True)
    assert [message["role"] for message in model.asked[1]] == ["system", "user", "assistant", "user"]
    assert '"target_words": 50' in model.asked[1][-1]["content"]


async def test_the_better_of_two_bad_answers_is_kept() -> None:
    assert (await run(WANTED, Script([SHORT, LONG]))).body == SHORT
    assert (await run(WANTED, Script([sentences(14), LONG]))).body == sentences(14)


async def test_there_is_never_a_third_call() -> None:
    model = Script([LONG, LONG])
    await run(WANTED, model)
    assert len(model.asked) == 2


async def test_a_second_call_that_fails_does_not_cost_the_first_answer() -> None:
    result = await run(WANTED, Script([LONG, "<think>only thoughts"]))
    assert (result.body, result.engine["calls"]) == (LONG, 1)


async def test_the_text_is_published_as_it_comes_and_the_progress_rises() -> None:
    heard = Heard()
    result = await run(WANTED, Script([f"Sure! Here is the summary:\n\n{GOOD}"]), heard)
    assert heard.text == result.body == GOOD
    assert len(heard.texts) > 10
    assert heard.shares == sorted(heard.shares)
    assert heard.shares[-1] == pytest.approx(0.9, abs=0.1)


async def test_the_second_answer_is_not_published_over_the_first() -> None:
    heard = Heard()
    await run(WANTED, Script([LONG, GOOD]), heard)
    assert heard.text == LONG


async def test_reasoning_fences_and_remarks_are_no_part_of_the_result() -> None:
    model = Script([f"<think>Long thoughts about it.</think>```\n{GOOD}\n```"])
    assert (await run(WANTED, model)).body == GOOD


async def test_an_answer_that_was_cut_off_ends_with_its_last_whole_sentence() -> None:
    model = Script([GOOD + " And then the council"], cut=[True])
    result = await run(WANTED, model)
    assert result.body == GOOD
    assert (result.engine["cut"], result.engine["trimmed"]) == (True, True)


async def test_an_answer_cut_off_too_early_gets_more_room_the_second_time() -> None:
    model = Script([SHORT + " And then", GOOD], cut=[True, False])
    assert (await run(WANTED, model)).body == GOOD
    assert model.rooms[1] > model.rooms[0]


async def test_a_loop_is_broken_off() -> None:
    with pytest.raises(TransientError) as broken:
        await run(WANTED, Script(["the bridge is closed and " * 2000]))
    assert broken.value.code == "answer_loops"


@pytest.mark.parametrize("answer", ["<think>only thoughts", "Sure! Here is the summary:"])
async def test_an_answer_without_a_text_is_none(answer: str) -> None:
    with pytest.raises(TransientError) as empty:
        await run(WANTED, Script([answer]))
    assert empty.value.code == "answer_empty"


async def test_a_text_that_does_not_fit_is_refused_without_a_call() -> None:
    model = Script([GOOD], context_tokens=512)
    with pytest.raises(PermanentError) as refused:
        await run(WANTED, model)
    assert refused.value.code == "input_too_long"
    assert model.asked == []


async def test_a_headline_may_be_shorter_than_its_limit() -> None:
    model = Script(["Council mends bridge"])
    result = await run(Request("summarize", SOURCE, style="headline"), model)
    assert (result.body, len(model.asked)) == ("Council mends bridge", 1)


async def test_the_language_asked_for_is_said_and_checked() -> None:
    model = Script([GOOD, GOOD])
    result = await run(Request("summarize", SOURCE, target_words=100, language="de"), model)
    assert "Write in German." in model.asked[0][-1]["content"]
    assert result.checks["language"]["ok"] is False
    assert len(model.asked) == 2


async def test_the_documents_own_look_alikes_come_back_as_they_were() -> None:
    source = SOURCE + " They wrote <doc-1> on it."
    model = Script([sentences(9) + " They wrote &lt;doc-1> on it, so to say."])
    assert (
        "They wrote <doc-1> on it" in (await run(Request("summarize", source, target_words=100), model)).body
    )


def failing(error: OffloadError, *works: object) -> Offload:
    """Processes in which these functions come to no end."""

    async def offload(work: Callable[..., T], *arguments: Any) -> T:
        if work in works:
            raise error
        return work(*arguments)

    return offload


COSTLY = [TooCostlyError("cpu"), TooCostlyError("memory"), TooCostlyError("time"), BrokenOffError(-9)]


@pytest.mark.parametrize("error", COSTLY, ids=str)
async def test_an_answer_that_is_too_costly_to_check_is_kept_and_says_so(error: OffloadError) -> None:
    model = Script([f"Sure! Here is the summary:\n\n{SHORT}"])
    result = await run(WANTED, model, offload=failing(error, measuring.measure))
    assert (result.body, result.engine["calls"]) == (SHORT, 1)
    assert {(check["ok"], check["unknown"]) for check in result.checks.values()} == {
        (None, "not checked: too costly")
    }


async def test_an_answer_that_is_too_costly_even_to_clean_is_kept_as_it_was_said() -> None:
    offload = failing(TooCostlyError("cpu"), measuring.measure, measuring.clean_answer)
    result = await run(WANTED, Script([f" <s>{GOOD} "]), offload=offload)
    assert result.body == f"<s>{GOOD}"


async def test_of_two_answers_the_one_that_could_be_checked_is_kept() -> None:
    checked = 0

    async def once(work: Callable[..., T], *arguments: Any) -> T:
        nonlocal checked
        checked += work is measuring.measure
        if checked > 1 and work is measuring.measure:
            raise TooCostlyError("cpu")
        return work(*arguments)

    assert (await run(WANTED, Script([LONG, GOOD]), offload=once)).body == LONG


async def test_a_text_that_is_passed_through_unchecked_says_so() -> None:
    offload = failing(TooCostlyError("cpu"), measuring.check)
    result = await answering.pass_through(Request("summarize", SHORT), offload)
    assert result.body == SHORT
    assert all(check["unknown"] for check in result.checks.values())
