"""The arguments of `precis summarize`, `precis shorten` and `precis result`. Knows what can be typed, not
what it does."""

import contextlib
import re
import uuid
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from cyclopts import Group, Parameter
from cyclopts.validators import MutuallyExclusive

from precis.options import read_by

Task = Literal["summarize", "shorten"]
Style = Literal["plain", "bullets", "headline"]

LENGTH = Group(
    "Length",
    validator=MutuallyExclusive(),  # type: ignore[no-untyped-call]
    sort_key=0,
)


def words(given: str) -> int:
    """The argument of --words."""
    if not re.fullmatch(r"[0-9]{1,9}", given, re.ASCII) or int(given) == 0:
        raise ValueError("give a whole number above 0")
    return int(given)


def ratio(given: str) -> float:
    """The argument of --ratio."""
    with contextlib.suppress(ValueError):
        if 0 < float(given) < 1:
            return float(given)
    raise ValueError("give a number above 0 and below 1: 0.3 asks for three tenths")


def identifier(given: str) -> str:
    """The id of a request."""
    try:
        return str(uuid.UUID(given))
    except ValueError:
        raise ValueError("give the id of a request") from None


# Otherwise `-` would be an unknown option.
File: TypeAlias = Annotated[
    str, Parameter(allow_leading_hyphen=True, help="A text file, or - for standard input.")
]
RequestId: TypeAlias = Annotated[str, read_by(identifier), Parameter(name="ID", help="Its id.")]
Words: TypeAlias = Annotated[
    int | None, read_by(words), Parameter(group=LENGTH, help="How long the result should be.")
]
Ratio: TypeAlias = Annotated[
    float | None, read_by(ratio), Parameter(group=LENGTH, help="How long, as a share of the source (0.2).")
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the result should be like; what is None is the service's to choose."""

    words: Words = None
    ratio: Ratio = None
    language: Annotated[
        str | None, Parameter(help="The result's language, such as de; the source's if not given.")
    ] = None
    model: Annotated[
        str | None, Parameter(help="A model that `precis status` lists; the default one if not given.")
    ] = None


NO_WISHES = Wishes()
