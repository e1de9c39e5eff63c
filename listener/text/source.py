"""A source as all work on it begins: normalised, or nothing at all if it says nothing."""

from listener.text.normalisation import normalise


def read(text: str) -> str:
    """The normalised text; empty if it holds no letter or digit."""
    text = normalise(text)
    return text if any(map(str.isalnum, text)) else ""
