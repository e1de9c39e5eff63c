"""What the engine says of itself: one model, what it can do, and whether it is loaded. Never that it
generates text."""

import hashlib
import time
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

VERSION = "0.0.0-extractive"
NAME = "extractive:latest"
CONTEXT_TOKENS = 2 * 1024 * 1024
KEEP_ALIVE_SECONDS = 5 * 60.0
LONGEST_SECONDS = 10 * 366 * 24 * 60 * 60.0  # what is longer is for ever, and no date
_FOR_EVER = datetime(2318, 1, 1, tzinfo=UTC)  # as Ollama writes a model that is kept for ever
_DETAILS = {
    "parent_model": "",
    "format": "rules",
    "family": "extractive",
    "families": ["extractive"],
    "parameter_size": "0",
    "quantization_level": "none",
}


def is_known(name: str) -> bool:
    """Whether a model name means our one model."""
    return name.lower() in (NAME, NAME.partition(":")[0])


class KeepAlive:
    """Whether the model is loaded, as far as a client can see: until its keep-alive runs out."""

    def __init__(self) -> None:
        self._until = 0.0  # of the monotonic clock

    def renew(self, seconds: float | None) -> None:
        """Stay loaded for so long from now; 0 unloads, below 0 is for ever, None is the default."""
        kept = KEEP_ALIVE_SECONDS if seconds is None else seconds
        self._until = time.monotonic() + kept if 0 <= kept <= LONGEST_SECONDS else float("inf")

    def running(self) -> list[dict[str, Any]]:
        """The entries of /api/ps."""
        left = self._until - time.monotonic()
        if left <= 0:
            return []
        expires = _FOR_EVER if left == float("inf") else datetime.fromtimestamp(time.time() + left, UTC)
        entry = {
            **_entry(),
            "expires_at": expires.isoformat(),
            "size_vram": 0,
            "context_length": CONTEXT_TOKENS,
        }
        del entry["modified_at"], entry["capabilities"]
        return [entry]


def tags() -> dict[str, Any]:
    """The answer of /api/tags."""
    return {"models": [_entry()]}


def show() -> dict[str, Any]:
    """The answer of /api/show."""
    return {
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": _DETAILS,
        "model_info": {"general.architecture": "extractive", "extractive.context_length": CONTEXT_TOKENS},
        "capabilities": ["completion"],
        "modified_at": _modified_at(),
    }


def _entry() -> dict[str, Any]:
    return {
        "name": NAME,
        "model": NAME,
        "modified_at": _modified_at(),
        "size": sum(len(content) for content in _sources()),
        "digest": digest(),
        "details": _DETAILS,
        "capabilities": ["completion"],
    }


@cache
def digest() -> str:
    """Another one whenever code or word lists change, since then the same text may be answered
    differently."""
    return hashlib.sha256(b"".join(_sources())).hexdigest()


@cache
def _modified_at() -> str:
    return datetime.now(UTC).isoformat()


@cache
def _sources() -> tuple[bytes, ...]:
    text, engine = resources.files("listener.text"), resources.files("listener.engine")
    files = [*_files(text), *_files(text / "languages"), *_files(engine)]
    return tuple(file.read_bytes() for file in files)


def _files(folder: Traversable) -> list[Traversable]:
    found = [entry for entry in folder.iterdir() if entry.name.endswith((".py", ".toml"))]
    return sorted(found, key=lambda entry: entry.name)
