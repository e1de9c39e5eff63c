"""The task `summarize`."""

from listener.tasks.request import Request
from listener.tasks.summarize import summarize
from tests.listener.tasks.script import Heard, Script, here, sentences

SHORT = sentences(3)


async def test_a_text_that_is_as_short_as_wanted_is_its_own_summary_without_a_call() -> None:
    model = Script([])
    result = await summarize(
        Request("summarize", SHORT, target_words=50), model=model, emit=Heard().emit, offload=here
    )
    assert (result.body, result.engine["engine"]) == (SHORT, "passthrough")
    assert result.checks["length"]
    assert model.asked == []


async def test_a_short_text_is_still_translated_or_made_into_bullets() -> None:
    for request in (
        Request("summarize", SHORT, target_words=50, language="de"),
        Request("summarize", SHORT, target_words=50, style="bullets"),
    ):
        model = Script(["- Ein Satz.", "- Ein Satz."])
        await summarize(request, model=model, emit=Heard().emit, offload=here)
        assert model.asked


async def test_a_longer_text_is_summarised_in_about_the_words_wanted() -> None:
    model = Script([sentences(5)])
    request = Request("summarize", sentences(40), target_words=50)
    result = await summarize(request, model=model, emit=Heard().emit, offload=here)
    assert (result.body, result.checks["length"]["ok"]) == (sentences(5), True)
