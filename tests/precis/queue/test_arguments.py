"""precis.queue.arguments: what can be typed after `precis queue`, and what is turned down before anything is
asked of a database."""

import argparse
from typing import Any

import pytest
from precis.command_line import parser
from precis.queue.arguments import limit, limit_bytes, seconds, weight


def given(*arguments: str) -> dict[str, Any]:
    return vars(parser().parse_args(["queue", *arguments]))


def test_without_a_command_it_is_list() -> None:
    assert given()["command"] == "list"
    assert given()["limit"] == given("list")["limit"] == 20


def test_an_option_counts_before_and_behind_the_command() -> None:
    assert given("--state", "failed", "--json", "list")["json"] is True
    assert given("--state", "failed", "list")["state"] == "failed"
    assert given("list", "--state", "failed")["state"] == "failed"
    assert given("--database-url", "a", "show", "1a2b")["database_url"] == "a"
    assert given("show", "1a2b", "--database-url", "b")["database_url"] == "b"
    assert given("show", "1a2b")["json"] is False


@pytest.mark.parametrize(
    ("text", "length"), [("45s", 45), ("30m", 1800), ("12h", 43200), ("1d", 86400), ("2w", 1209600)]
)
def test_a_length_of_time_has_one_unit(text: str, length: int) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["", "1", "d", "1y", "-1d", "1d2h", "1.5h", "99999999d"])
def test_what_is_no_length_of_time_is_said_so(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no length of time"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("512", 512), ("2k", 2048), ("512m", 1 << 29), ("2GiB", 1 << 31), ("1gb", 1 << 30)],
)
def test_bytes_can_be_told_in_larger_units(text: str, number: int) -> None:
    assert limit_bytes(text) == number


def test_none_is_no_limit() -> None:
    assert limit_bytes("none") is limit("none") is None


@pytest.mark.parametrize("text", ["-1", "many", "1.5", "3000000000", ""])
def test_what_is_no_limit_is_said_so(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="not `none`"):
        limit(text)


@pytest.mark.parametrize("text", ["0", "-1", "101", "nan", "inf", "heavy"])
def test_a_weight_stays_within_what_the_database_takes(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"from 0\.01 to 100"):
        weight(text)


def test_no_limit_is_not_the_same_as_not_given() -> None:
    assert given("quota", "--waiting", "none", "--requests-per-day", "5")["limits"] == {
        "requests_waiting": None,
        "requests_per_day": 5,
    }
    assert given("quota")["limits"] is None


@pytest.mark.parametrize("text", ["0", "-1", "x", "100001"])
def test_a_list_has_at_least_one_row_and_an_end(text: str) -> None:
    with pytest.raises(SystemExit):
        given("list", f"--limit={text}")
