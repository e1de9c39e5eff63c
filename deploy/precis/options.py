"""What verbs of several rooms take. Knows no verb, and loads nothing that a verb would need."""

from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter

from precis.layout import Layout

Here = Annotated[Layout, Parameter(parse=False)]  # which stack is meant; nothing that is typed
AsJson = Annotated[bool, Parameter(name="--json", negative="")]


def read_by(parse: Callable[[str], object]) -> Parameter:
    """An option whose one word is read by `parse`, which raises ValueError with what to give instead."""

    def convert(_: Any, tokens: Any) -> object:
        return parse(tokens[0].value)

    return Parameter(converter=convert, n_tokens=1, accepts_keys=False)
