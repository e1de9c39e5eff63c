"""precis.client.progress: how far a request is, and the text so far on a narrow screen."""

import io

from precis.client.progress import LiveView, PlainView, Shown, tail
from rich.console import Console


def test_a_share_comes_from_the_text_where_its_length_is_known() -> None:
    shown = Shown("summarize a", target_words=10, state="running", text="one two three")
    assert shown.share() == 0.3


def test_more_text_than_expected_is_not_done_yet() -> None:
    assert Shown("a", target_words=1, state="running", text="one two").share() == 0.99
    assert Shown("a", target_words=1, state="done").share() == 1.0


def test_nobody_knows_how_far_a_silent_one_is() -> None:
    assert Shown("a", target_words=None, state="running").share() is None


def test_the_tail_is_the_last_lines_as_the_screen_breaks_them() -> None:
    shown = tail("first line\n" + "word " * 40, 30).plain.splitlines()
    assert len(shown) == 6
    assert all(len(line) <= 30 for line in shown)
    assert "first" not in "".join(shown)


def test_a_state_that_is_new_is_a_line_where_there_is_no_terminal() -> None:
    output = io.StringIO()
    shown = Shown("summarize a.txt", None, states=[("queued", 0.0), ("running", 0.25)], state="running")
    PlainView(Console(file=output)).state(shown)
    assert output.getvalue() == "  summarize a.txt: running after 0.25 s\n"


def test_the_live_view_leaves_nothing_behind() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80)
    with LiveView(console, {"1": Shown("summarize a.txt", 5, state="running", text="so far")}) as view:
        assert view is None
    assert "so far" in output.getvalue()
    assert output.getvalue().endswith("\x1b[2K")
