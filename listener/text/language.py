"""Names the language of a text, offline. Says nothing about texts too short to tell."""

import functools

from listener.text import classifier

MINIMUM_LETTERS = 40  # below that the classifier guesses
_SAMPLE_CHARACTERS = 6_000


def detect_language(text: str) -> str | None:
    """The most likely language as ISO 639-1, or None if the text has fewer than 40 letters."""
    found = likely_languages(text)
    return found[0] if found else None


def likely_languages(text: str) -> tuple[str, ...]:
    """The two most likely languages, best first; empty below 40 letters."""
    return _likely(_sample(text))


# One request asks for the language of one text several times over.
@functools.lru_cache(maxsize=16)
def _likely(sample: str) -> tuple[str, ...]:
    if sum(map(str.isalpha, sample)) < MINIMUM_LETTERS:
        return ()
    return tuple(base_language(name) for name, _ in classifier.rank(sample)[:2])


def base_language(tag: str) -> str:
    """A BCP 47 tag without region and script; the two kinds of Norwegian, which texts mix, are one."""
    base = tag.partition("-")[0].lower()
    return "no" if base in ("nb", "nn") else base


def warm_up() -> None:
    """Load the classifier's tables, which takes most of a second, before somebody waits for them."""
    classifier.rank("warm up")


def _sample(text: str) -> str:
    if len(text) <= _SAMPLE_CHARACTERS:
        return text
    third = _SAMPLE_CHARACTERS // 3
    middle = len(text) // 2
    return " ".join((text[:third], text[middle : middle + third], text[-third:]))
