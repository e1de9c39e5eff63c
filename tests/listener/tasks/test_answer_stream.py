"""What is heard of an answer is shown as it comes, in turns of the loop that are short however much comes."""

import asyncio

import pytest

from listener.errors import TransientError
from listener.tasks.answer_stream import TURN_CHARACTERS, AnswerStream
from tests.listener.tasks.script import Heard, sentences

LONG = sentences(1000)


def stream(heard: Heard, source: str = LONG) -> AnswerStream:
    """What repeats itself in the source is no loop."""
    return AnswerStream("doc-1", source, heard.emit, len(LONG))


async def test_a_whole_answer_in_one_piece_is_shown_in_many_turns() -> None:
    heard, turns = Heard(), 0
    with stream(heard) as listening:
        listening.hear(LONG)
        while len(heard.text) < 0.9 * len(LONG):
            await asyncio.sleep(0)
            turns += 1
    assert turns >= 0.9 * len(LONG) / TURN_CHARACTERS
    assert max(map(len, heard.texts)) <= 2 * TURN_CHARACTERS


async def test_many_pieces_at_once_are_shown_together() -> None:
    heard = Heard()
    with stream(heard) as listening:
        for letter in LONG[:10_000]:
            listening.hear(letter)
        assert heard.texts == []
        while len(heard.text) < 9_000:
            await asyncio.sleep(0)
    assert len(heard.texts) < 10


async def test_an_end_that_the_preview_has_not_come_to_is_left_to_the_result() -> None:
    heard = Heard()
    with stream(heard) as listening:
        listening.hear(LONG)
        listening.finish()
        shown = heard.text
    await asyncio.sleep(0)
    assert heard.text == shown
    assert len(shown) <= 2 * TURN_CHARACTERS


async def test_a_loop_is_told_with_the_next_piece() -> None:
    loop = "the bridge is closed and " * 400
    with stream(Heard(), source="") as listening:
        listening.hear(loop)
        await asyncio.sleep(0)
        with pytest.raises(TransientError, match="answer_loops"):
            listening.hear("x")


async def test_a_loop_is_told_at_the_end_at_the_latest() -> None:
    with stream(Heard(), source="") as listening:
        listening.hear("the bridge is closed and " * 400)
        with pytest.raises(TransientError, match="answer_loops"):
            listening.finish()


async def test_what_repeats_itself_in_the_source_may_do_so_in_the_answer() -> None:
    loop = "the bridge is closed and " * 400
    with stream(Heard(), source=loop) as listening:
        listening.hear(loop)
        listening.finish()
