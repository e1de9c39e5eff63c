"""No text takes more time than its length deserves, and none is more than a function can bear.

By hand, for larger texts: python -m tests.listener.text.test_linear 1000000 [part of a function's name] ...
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from listener.text import language
from listener.text.linear import SPACE, WORD, Expression
from tests.listener.text.degenerate import TEXTS
from tests.listener.text.functions import found

pytestmark = pytest.mark.costly

SIZE = 8_000
DOUBLINGS = 3  # between the texts that are compared
MOST_RATIO = 2.5  # of the time for twice the text
FLOOR_SECONDS_PER_LETTER = (
    0.6e-6  # what takes less of the processor is fast enough, and too quick to be judged
)
TRIES = 4

SHORTEST = (
    "",
    " ",
    "\n",
    ".",
    "a",
    "🙏",
    "九",
    "\0",
    "\ud800",
    "“",
    "-",
    "• •",
    "…",
    "```",
    "> ",
    "#",
    "- ",
    "|",
)

FUNCTIONS = found()


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    language.warm_up()


def seconds(function: Callable[[str], Any], text: str, times: int = 1) -> float:
    """Processor time, the least of some runs."""
    least = float("inf")
    for _ in range(times):
        began = time.process_time()
        function(text)
        least = min(least, time.process_time() - began)
    return least


def ratio(function: Callable[[str], Any], build: Callable[[int], str], size: int) -> float:
    """How many times longer twice the text takes; of what grows too fast up to `size`, beyond it: some change
    their way of working at some length, which is a step and no slope."""
    measured = growth(function, build, size)
    return growth(function, build, size << DOUBLINGS) if measured > MOST_RATIO else measured


def growth(function: Callable[[str], Any], build: Callable[[int], str], size: int) -> float:
    """How many times longer twice the text takes, on the way up to `size`; 0 where that is too quick to be
    judged."""
    small, large = build(size >> DOUBLINGS), build(size)
    taken = seconds(function, large)
    if taken < FLOOR_SECONDS_PER_LETTER * size:
        return 0.0
    for times in range(1, TRIES + 1):  # a loaded machine is given more chances; a slow function has none
        before = max(seconds(function, small, times), FLOOR_SECONDS_PER_LETTER * len(small))
        measured = float((taken / before) ** (1 / DOUBLINGS))
        if measured <= MOST_RATIO:
            break
        taken = min(taken, seconds(function, large, times))
    return measured


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_twice_the_text_takes_twice_the_time_and_nothing_is_raised(name: str) -> None:
    ratios = {text: ratio(FUNCTIONS[name], build, SIZE) for text, build in TEXTS.items()}
    assert {text: measured for text, measured in ratios.items() if measured > MOST_RATIO} == {}


@pytest.mark.parametrize(
    "text", ["", " ", "\n", ".", "a", "🙏", "九", "\0", "\ud800", "“", "-", "• •", "```", "> ", "#"]
)
def test_the_shortest_texts_are_borne_too(text: str) -> None:
    for function in FUNCTIONS.values():
        function(text)


def test_a_walk_over_all_pairs_would_be_seen() -> None:
    def pairs(text: str) -> int:
        return sum(one == other for one in text for other in text)

    assert ratio(pairs, TEXTS["letters"], SIZE // 16) > MOST_RATIO


def test_an_expression_takes_what_utf_8_cannot_hold() -> None:
    marks = Expression(rf"[{WORD}]+")
    assert [match.span() for match in marks.finditer("é\ud800 a_1")] == [(0, 1), (3, 6)]
    assert marks.sub(lambda match: match[0].upper(), "é\u00a0a") == "É\u00a0A"


def test_blanks_are_those_that_python_takes_for_blanks() -> None:
    blank = Expression(f"[{SPACE}]")
    blanks = "".join(filter(str.isspace, map(chr, range(0x3100))))
    assert len(list(blank.finditer(blanks))) == len(blanks)
    assert not list(blank.finditer("a_\u200b"))


def _by_hand(size: int, *parts: str) -> None:
    language.warm_up()
    for name, function in found(thorough=True).items():
        if parts and not any(part in name for part in parts):
            continue
        for text, build in TEXTS.items():
            if grows := ratio(function, build, size):
                taken = seconds(function, build(size))
                print(f"{name:45} {text:25} {taken:8.2f} s, {grows:.2f} times for twice the text", flush=True)


if __name__ == "__main__":
    _by_hand(int(sys.argv[1]), *sys.argv[2:])
