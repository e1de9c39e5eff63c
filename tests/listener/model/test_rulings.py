"""The one table of errors: every code that is raised stands in it, and its sentences keep their promises."""

import ast
from pathlib import Path

import pytest

from listener import errors
from listener.errors import TaskError
from listener.model.rulings import RULINGS, rule
from listener.work.outcomes import Again, Failed, decide

SOURCES = (Path(errors.__file__).parent).rglob("*.py")
KINDS = ("TransientError", "CapacityError", "PermanentError", "UnreachableError")
# Of the source alone: no model server is asked.
OF_THE_SOURCE = {"source_not_supported", "empty_text"}


def raised() -> set[tuple[str, str]]:
    """(kind, code) of every error that is made with a literal code."""
    calls = (
        node
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS
    )
    return {
        (call.func.id, call.args[0].value)
        for call in calls
        if isinstance(call.func, ast.Name) and call.args and isinstance(call.args[0], ast.Constant)
    }


def test_what_is_raised_elsewhere_is_of_the_kind_that_the_table_says() -> None:
    found = {(kind, code) for kind, code in raised() if code not in OF_THE_SOURCE}
    assert ("PermanentError", "input_too_long") in found
    assert found == {(RULINGS[code].kind.__name__, code) for _, code in found}


@pytest.mark.parametrize("code", sorted(RULINGS))
def test_a_sentence_says_what_becomes_of_the_request_and_no_address(code: str) -> None:
    ruling = RULINGS[code]
    assert ruling.message.endswith(".")
    assert ruling.again == ruling.message.endswith("it is tried again by itself.")
    assert not any(word in ruling.message for word in ("http", "127.0", "localhost", "{"))
    # Only who cannot have caused it is told so.
    assert ("Nothing is wrong with the request" in ruling.message) == (
        ruling.whose == "host" and ruling.again
    )


def decided(error: TaskError, attempts: int) -> Failed | Again:
    return decide(
        error, attempts=attempts, max_attempts=5, refusals=1, tried_seconds=1.0, budget_seconds=3600.0
    )


@pytest.mark.parametrize("code", sorted(RULINGS))
def test_what_becomes_of_a_request_is_what_the_table_says(code: str) -> None:
    ruling = RULINGS[code]
    first, last = decided(rule(code), 1), decided(rule(code), 5)
    assert isinstance(first, Again) == ruling.again
    assert isinstance(last, Failed) == (ruling.counted or not ruling.again)
    if isinstance(first, Again):
        assert first.counted == ruling.counted
    if isinstance(last, Failed):
        assert "tried again" not in last.message
