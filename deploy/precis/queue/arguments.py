"""The arguments of `precis queue` and of its commands. Knows what can be typed, not what it does."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

from precis.options import AsJson, read_by
from precis.queue.quotas import LIMITS
from precis.queue.requests import State

SECONDS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60, "w": 7 * 24 * 60 * 60}
MULTIPLES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
MOST_ROWS = 100_000
MOST_NUMBER = 2**31 - 1
MOST_BYTES = 2**62
WEIGHTS = (0.01, 100.0)
NO_LIMIT: Literal["none"] = "none"
BEFORE_A_COMMAND = ("--database-url", "--state", "--owner", "--model", "--limit")  # with a word behind them

Limit: TypeAlias = int | Literal["none"]


def command_first(words: Sequence[str]) -> list[str]:
    """The words behind `precis queue` with the command before its options, which may stand before it too.
    Without a command it is `list`."""
    for place, word in enumerate(words):
        if not word.startswith("-") and (place == 0 or words[place - 1] not in BEFORE_A_COMMAND):
            return [word, *words[:place], *words[place + 1 :]]
    return list(words) if {"--help", "-h"} & set(words) else ["list", *words]


def seconds(text: str) -> int:
    """A length of time: 45s, 30m, 12h, 1d, 2w."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text, re.ASCII)
    if not match:
        raise ValueError(f"{text!r} is no length of time such as 30m, 12h or 1d")
    return int(match[1]) * SECONDS[match[2]]


def limit(text: str) -> Limit:
    """A number from 0, or `none` for no limit."""
    return _number(text, MOST_NUMBER)


def limit_bytes(text: str) -> Limit:
    """The same; k, m and g multiply by 1024."""
    return _number(text, MOST_BYTES)


def weight(text: str) -> float:
    """A share between 0.01 and 100."""
    least, most = WEIGHTS
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not least <= value <= most:
        raise ValueError(f"{text!r} is no weight from {least:g} to {most:g}")
    return value


def rows(text: str) -> int:
    """How many rows of a list."""
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 0 < int(text) <= MOST_ROWS:
        raise ValueError(f"{text!r} is no number from 1 to {MOST_ROWS}")
    return int(text)


def _number(text: str, most: int) -> Limit:
    if text == NO_LIMIT:
        return NO_LIMIT
    match = re.fullmatch(r"(\d{1,18})([kmg]?)(?:i?b)?", text.lower(), re.ASCII)
    value = int(match[1]) * MULTIPLES[match[2]] if match else -1
    if not 0 <= value <= most:
        raise ValueError(f"{text!r} is no number from 0 to {most:,}, and not `none`")
    return value


ShortId: TypeAlias = Annotated[str, Parameter(name="ID", help="An id, or its first digits.")]
Rows: TypeAlias = Annotated[int, read_by(rows), Parameter(help="Rows that are listed.")]
Since: TypeAlias = Annotated[int | None, read_by(seconds), Parameter(help="Failed within 30m, 12h, 1d, 2w.")]
Code: TypeAlias = Annotated[str | None, Parameter(help="Failed with this code.")]
Owner: TypeAlias = Annotated[str | None, Parameter(help="Only this account's, by its address.")]
OnlyModel: TypeAlias = Annotated[str | None, Parameter(help="Only this model's.")]
OnlyState: TypeAlias = Annotated[
    State | None, Parameter(help="Only those; scheduled ones have a time before which they wait.")
]
WhichModel: TypeAlias = Annotated[str | None, Parameter(name="MODEL", help="Everything if not given.")]
Yes: TypeAlias = Annotated[bool, Parameter(negative="", help="Do not ask.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What every command takes."""

    json: Annotated[AsJson, Parameter(help="For scripts.")] = False
    database_url: Annotated[
        str | None,
        Parameter(help="The database as precis_owner; else $DATABASE_URL, config.toml, or dbmate's .env."),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an account may send. None is what was not given."""

    requests_per_day: Annotated[
        Limit | None, read_by(limit), Parameter(help="Requests in a day (UTC), or none for no limit.")
    ] = None
    bytes_per_day: Annotated[
        Limit | None, read_by(limit_bytes), Parameter(help="Bytes of text in a day, such as 512m, or none.")
    ] = None
    requests_waiting: Annotated[
        Limit | None,
        read_by(limit),
        Parameter(name="--waiting", help="Requests that may wait at a time, or none."),
    ] = None
    changes_per_minute: Annotated[
        Limit | None, read_by(limit), Parameter(help="Requests changed or deleted, or none.")
    ] = None

    def changes(self) -> dict[str, int | None]:
        """What was given, by name; None is no limit."""
        given = ((name, getattr(self, name)) for name in LIMITS)
        return {name: None if value == NO_LIMIT else value for name, value in given if value is not None}
