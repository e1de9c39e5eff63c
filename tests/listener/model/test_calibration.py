"""What is learnt of a model's tokens: by many answers together, within what a text can hold."""

import pytest

from listener.model.calibration import RATIOS_KEPT, RATIOS_NEEDED, Calibration, read_prompt

PROMPT = read_prompt([{"content": "The council mended the bridge over the river. " * 20}])
OTHER = read_prompt(
    [{"content": "\u0421\u043e\u0432\u0435\u0442 \u043f\u043e\u0447\u0438\u043d\u0438\u043b. " * 20}]
)


def taught(*counts: int) -> float:
    calibration = Calibration()
    for count in counts:
        calibration.learn(PROMPT, count)
    return calibration.ratio(PROMPT.script)


def test_the_middle_of_many_answers_is_learnt_by_script() -> None:
    calibration = Calibration()
    for _ in range(RATIOS_NEEDED):
        calibration.learn(PROMPT, PROMPT.estimate * 2)
    assert calibration.ratio(PROMPT.script) == pytest.approx(2)
    assert calibration.ratio(OTHER.script) == 1


def test_a_few_answers_teach_nothing() -> None:
    assert taught(*[PROMPT.estimate * 2] * (RATIOS_NEEDED - 1)) == 1


@pytest.mark.parametrize("odd", [2_000_000_000, 0, -5, 1, 10**30])
def test_what_a_text_cannot_hold_teaches_nothing_however_often(odd: int) -> None:
    assert taught(*[odd] * 1000) == 1


def test_a_few_odd_answers_among_many_move_nothing_that_matters() -> None:
    plain = [PROMPT.estimate] * RATIOS_KEPT
    odd = [PROMPT.most] * (RATIOS_KEPT // 4)
    assert taught(*plain, *odd) == pytest.approx(1)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 3000,
        "\u4e2d" * 1000,
        "\U0001f64f" * 500,
        "0" * 999,
        "  " * 700,
        "\u0301" * 500,
        "\U00012345" * 9,
    ],
)
def test_an_estimate_is_within_what_the_bytes_of_a_text_allow(text: str) -> None:
    prompt = read_prompt([{"content": text}])
    assert prompt.least <= prompt.estimate <= prompt.most
    assert prompt.allows(prompt.estimate)
    assert not prompt.allows(2_000_000_000)
