"""What a model server lists, read with distrust: which models it has, and what can be asked of each.

Plain reading, no call. What comes out can be stored and shown: short names on one line, numbers in bounds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from listener.model.diagnosis import told

MOST_MODELS = 256
MOST_CHARACTERS = 200  # of a name or a digest
MOST_CAPABILITIES = 32
MOST_CONTEXT_TOKENS = 2**31 - 1  # what the database's integer holds
CAPABILITY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")


class ListingError(Exception):
    """A server, or one of its models, cannot be used for what it says of itself; the text says why."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A model as a server lists it."""

    digest: str
    family: str
    context_tokens: int
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tags:
    """The digests of models by name, and what had to be left out."""

    digests: Mapping[str, str]
    faults: tuple[str, ...]


def read_tags(answer: Mapping[str, Any]) -> Tags:
    """The models of /api/tags that run there. Raises ListingError."""
    if "models" not in answer or not isinstance(answer["models"], list | None):
        raise ListingError("its list of models is none: it does not speak Ollama's interface")
    digests: dict[str, str] = {}
    faults: list[str] = []
    for entry in answer["models"] or ():
        if len(digests) >= MOST_MODELS:
            faults.append(f"it lists more than {MOST_MODELS} models: the others are not used")
            break
        try:
            name, digest = _read_tag(entry)
        except ListingError as error:
            faults.append(str(error))
            continue
        if name in digests:
            faults.append(f"it lists {told(name)} twice")
        elif not entry.get("remote_host"):  # else it runs elsewhere: texts would leave the house
            digests[name] = digest
    return Tags(digests, tuple(dict.fromkeys(faults)))


def read_listed(digest: str, shown: Mapping[str, Any], *, context_tokens: int) -> Listed | None:
    """A model from /api/show, None if it cannot write text. `context_tokens` bounds what is asked of a
    language model; the extractive engine has no memory to fill. Raises ListingError."""
    capabilities = _capabilities(shown.get("capabilities"))
    if shown.get("remote_host") or (capabilities and "completion" not in capabilities):
        return None
    info, details = _object(shown, "model_info"), _object(shown, "details")
    architecture = _name(info.get("general.architecture"))
    family = _name(details.get("family")) or architecture
    context = _positive(info.get(f"{architecture}.context_length")) or context_tokens
    if family != "extractive":
        context = min(context, context_tokens)
    return Listed(digest, family, context, capabilities)


def read_version(answer: Mapping[str, Any]) -> str:
    """What /api/version says; empty if that is nothing to keep."""
    return _name(answer.get("version"))


def _read_tag(entry: object) -> tuple[str, str]:
    if not isinstance(entry, dict):
        raise ListingError("it lists something that is no record")
    name, digest = entry.get("name") or entry.get("model"), entry.get("digest") or ""
    if not name or not _name(name):
        raise ListingError(f"it lists a model whose name cannot be used: {told(str(name)[:50])}")
    if digest and not _name(digest):
        raise ListingError(f"the digest of {told(_name(name))} cannot be used")
    return _name(name), _name(digest)


def _name(value: object) -> str:
    """A short text of characters that can be shown; else empty. That leaves out NUL and half surrogates."""
    fits = isinstance(value, str) and len(value) <= MOST_CHARACTERS and value.isprintable()
    return str(value) if fits else ""


def _positive(value: object) -> int:
    """A number of tokens that can be stored; 0 if it is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return min(max(0, value), MOST_CONTEXT_TOKENS)


def _object(shown: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = shown.get(name)
    if value is not None and not isinstance(value, dict):
        raise ListingError(f"its {name} is no record")
    return value or {}


def _capabilities(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MOST_CAPABILITIES:
        raise ListingError("its capabilities are no short list")
    if not all(isinstance(item, str) and CAPABILITY.fullmatch(item) for item in value):
        raise ListingError("its capabilities are no short words")
    return tuple(sorted(set(value)))
