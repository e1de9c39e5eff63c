"""Where a request's text comes from. Knows no task.

Texts only as yet; documents and addresses are refused at the API and, for what slips through, here.
"""

from listener.errors import PermanentError
from listener.offload.pool import Offload
from listener.queue.jobs import Claimed
from listener.text.source import read


async def load(claimed: Claimed, offload: Offload) -> str:
    """The normalised text. Raises PermanentError if there is none that this server can read, and
    OffloadError."""
    if claimed.text is None:
        raise PermanentError(
            "source_not_supported", "This server reads text only: put the text itself into the request."
        )
    text = await offload(read, claimed.text)
    if not text:
        raise PermanentError(
            "empty_text", "The text holds no letter or digit. Give a text that says something."
        )
    return text
