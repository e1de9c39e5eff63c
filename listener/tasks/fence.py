"""The fence around the document in a prompt: its name, and what must not look like it inside."""

import re
import secrets

DELIMITER_BYTES = 4
LOOK_ALIKE = re.compile(r"<(/?doc-)", re.IGNORECASE)
ESCAPED = re.compile(r"&lt;(/?doc-)", re.IGNORECASE)


def new_delimiter() -> str:
    """A name for the fence that the document cannot have known."""
    return f"doc-{secrets.token_hex(DELIMITER_BYTES)}"


def fence(escaped: str, delimiter: str) -> str:
    """An escaped document between its fence."""
    return f"<{delimiter}>\n{escaped}\n</{delimiter}>"


def escape(document: str) -> str:
    """The document with nothing in it that looks like a fence."""
    return LOOK_ALIKE.sub(r"&lt;\1", document)


def unescape(text: str) -> str:
    """An answer with the document's look-alikes as they were."""
    return ESCAPED.sub(r"<\1", text)
