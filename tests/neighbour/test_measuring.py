"""What is said of a measurement: ok, not ok, or that it proves nothing."""

from dataclasses import replace

import pytest

from tests.neighbour import table
from tests.neighbour.measuring import Line
from tests.neighbour.model_server import CALL_SECONDS
from tests.neighbour.scenarios import SCENARIOS, Scenario
from tests.neighbour.steady import NEVER

ONE = SCENARIOS["single-rows"]
LIMIT = 2 * 0.5 + CALL_SECONDS


def line(beside: float, *, alone: float = 0.5, status: str = "202", scenario: Scenario = ONE) -> Line:
    return Line(scenario, [alone] * 5, [beside] * 20, 0.1, answers={status: 3})


@pytest.mark.parametrize(("wait", "verdict"), [
    (LIMIT - 0.01, "ok"), (LIMIT + 0.01, "NOT"), (NEVER, "NOT"),
])  # fmt: skip
def test_twice_the_time_alone_and_one_call_is_the_limit(wait: float, verdict: str) -> None:
    assert f" {verdict} " in table.row(line(wait))


def test_a_run_in_which_nothing_was_done_proves_nothing() -> None:
    assert not line(0.5, status="500").is_ok
    assert not replace(line(0.5), answers={}).is_ok
    assert not line(0.5, alone=NEVER).is_ok
    assert line(0.5, status="500", scenario=replace(ONE, needs_success=False)).is_ok
