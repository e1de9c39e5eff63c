"""A long text keeps nobody waiting; a short one waits for no thread."""

import threading

import pytest

from listener.aside import SHORT_CHARACTERS, aside


@pytest.mark.parametrize(("more", "here"), [(0, True), (1, False)], ids=["short", "long"])
async def test_only_a_long_text_is_given_to_a_thread(more: int, here: bool) -> None:
    thread = await aside("x" * (SHORT_CHARACTERS + more), threading.get_ident)
    assert (thread == threading.get_ident()) is here
