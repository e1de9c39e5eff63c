"""precis.queue.arguments: what can be typed after `precis queue`, and what is turned down before anything is
asked of a database."""

from dataclasses import asdict
from typing import Any

import pytest
from precis.command_line import parsed
from precis.faults import BadUsage
from precis.queue.arguments import limit, limit_bytes, seconds, weight


def given(*arguments: str) -> dict[str, Any]:
    """The command's name and what it is given, by option."""
    verb, given, _ = parsed(["queue", *arguments])
    given.apply_defaults()
    return {"command": verb.__name__, **given.arguments, **asdict(given.arguments["common"])}


def test_without_a_command_it_is_list() -> None:
    assert given()["command"] == given("list")["command"] == "show_list"
    assert given()["limit"] == given("list")["limit"] == 20


def test_an_option_counts_before_and_behind_the_command() -> None:
    assert given("--state", "failed", "--json", "list")["json"] is True
    assert given("--state", "failed", "list")["state"] == "failed"
    assert given("list", "--state", "failed")["state"] == "failed"
    assert given("--database-url", "a", "show", "1a2b")["database_url"] == "a"
    assert given("show", "1a2b", "--database-url", "b")["database_url"] == "b"
    assert given("show", "1a2b")["json"] is False
    assert given("--owner", "show", "--limit=3", "list")["owner"] == "show"


@pytest.mark.parametrize(
    ("text", "length"), [("45s", 45), ("30m", 1800), ("12h", 43200), ("1d", 86400), ("2w", 1209600)]
)
def test_a_length_of_time_has_one_unit(text: str, length: int) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["", "1", "d", "1y", "-1d", "1d2h", "1.5h", "99999999d"])
def test_what_is_no_length_of_time_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match="no length of time"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("512", 512), ("2k", 2048), ("512m", 1 << 29), ("2GiB", 1 << 31), ("1gb", 1 << 30)],
)
def test_bytes_can_be_told_in_larger_units(text: str, number: int) -> None:
    assert limit_bytes(text) == number


def test_none_is_no_limit() -> None:
    assert limit_bytes("none") == limit("none") == "none"


@pytest.mark.parametrize("text", ["-1", "many", "1.5", "3000000000", ""])
def test_what_is_no_limit_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match="not `none`"):
        limit(text)


@pytest.mark.parametrize("text", ["0", "-1", "101", "nan", "inf", "heavy"])
def test_a_weight_stays_within_what_the_database_takes(text: str) -> None:
    with pytest.raises(ValueError, match=r"from 0\.01 to 100"):
        weight(text)


def test_no_limit_is_not_the_same_as_not_given() -> None:
    limits = given("quota", "--waiting", "none", "--requests-per-day", "5")["limits"]
    assert limits.changes() == {"requests_waiting": None, "requests_per_day": 5}
    assert given("quota")["limits"].changes() == {}


@pytest.mark.parametrize("text", ["0", "-1", "x", "100001", "000000001999999", "\u0665"])
def test_a_list_has_at_least_one_row_and_an_end(text: str) -> None:
    with pytest.raises(BadUsage):
        given("list", f"--limit={text}")


@pytest.mark.parametrize("arguments", [
    ["stop"], ["list", "extra"], ["show"], ["show", "1a2b", "3c4d"], ["list", "--state", "asleep"],
    ["cancel", "--state", "done"], ["dead", "--since", "1y"], ["quota", "--waiting", "many"], ["drain"],
])  # fmt: skip
def test_what_cannot_be_typed_is_one_sentence_that_names_the_help(arguments: list[str]) -> None:
    with pytest.raises(BadUsage, match="--help` tells what there is") as caught:
        given(*arguments)
    assert (caught.value.code, caught.value.exit_code) == ("bad_usage", 2)
