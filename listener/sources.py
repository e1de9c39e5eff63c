"""Where a request's text comes from. Knows no task.

Texts only as yet; documents and addresses are refused at the API and, for what slips through, here.
"""

from functools import partial

from listener.aside import aside
from listener.errors import PermanentError
from listener.queue import Claimed
from listener.text.normalisation import normalise


async def load(claimed: Claimed) -> str:
    """The normalised text. Raises PermanentError if there is none that this server can read."""
    if claimed.text is None:
        raise PermanentError(
            "source_not_supported", "This server reads text only: put the text itself into the request."
        )
    text = await aside(claimed.text, partial(normalise, claimed.text))
    if not any(map(str.isalnum, text)):
        raise PermanentError(
            "empty_text", "The text holds no letter or digit. Give a text that says something."
        )
    return text
