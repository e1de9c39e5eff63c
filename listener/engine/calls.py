"""Reads the body of a chat or generate call as Ollama does, and refuses in its words what it refuses."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from listener.engine.identity import NAME, is_known

# The code of a call at which the engine itself has failed. It would fail again.
ENGINE_FAILED = "engine_failed"

_DEFAULT_CONTEXT = 4096
_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")


class Refusal(Exception):
    """A call that is answered with a status and `{"error": message}`, and a code for our own listener."""

    def __init__(self, status: int, message: str, *, code: str = "") -> None:
        super().__init__(status, message)  # both: it comes out of child processes
        self.status = status
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class Call:
    """One call: `users` are the texts of the user messages, `prompt` is everything that is in it."""

    model: str
    users: tuple[str, ...]
    prompt: str
    stream: bool = True
    schema: Any = None
    keep_alive: float | None = None  # seconds; below 0 for ever; None is the server's default
    num_predict: int = -1
    num_ctx: int = _DEFAULT_CONTEXT
    chat: bool = True

    @property
    def empty(self) -> bool:
        """Nothing to answer: the model is only to be loaded or unloaded."""
        return not self.prompt


def read_object(raw: bytes) -> dict[str, Any]:
    """The body as an object. Raises Refusal 400."""
    if not raw.strip():
        raise Refusal(400, "missing request body")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"invalid JSON in the request body: {error}") from error
    if not isinstance(value, dict):
        raise Refusal(400, f"json: cannot unmarshal {_go_name(value)} into Go value of type api.ChatRequest")
    return value


def read_model(body: Mapping[str, Any]) -> str:
    """The name of the model as it was asked for. Raises Refusal 400, or 404 if it is none of ours."""
    name: str = _typed(body, "model", str, "") or _typed(body, "name", str, "")
    if not name:
        raise Refusal(400, "model is required")
    if not is_known(name):
        raise Refusal(404, f"model '{name}' not found")
    return name


def read_chat(body: Mapping[str, Any]) -> Call:
    """A call of /api/chat. Raises Refusal."""
    model = read_model(body)
    messages = _typed(body, "messages", list, [])
    if not all(isinstance(message, Mapping) for message in messages):
        raise Refusal(
            400, "json: cannot unmarshal into Go struct field ChatRequest.messages of type api.Message"
        )
    texts = [(message.get("role"), _typed(message, "content", str, "")) for message in messages]
    if any(message.get("images") for message in messages):
        raise Refusal(400, f'"{NAME}" does not support vision')
    users = tuple(text for role, text in texts if role == "user")
    return _call(body, model, users, "\n".join(text for _, text in texts), chat=True)


def read_generate(body: Mapping[str, Any]) -> Call:
    """A call of /api/generate. Raises Refusal."""
    model = read_model(body)
    if body.get("images"):
        raise Refusal(400, f'"{NAME}" does not support vision')
    prompt = _typed(body, "prompt", str, "")
    return _call(body, model, (prompt,), prompt, chat=False)


def _call(body: Mapping[str, Any], model: str, users: tuple[str, ...], prompt: str, *, chat: bool) -> Call:
    if body.get("think") not in (None, False):
        raise Refusal(400, f'"{NAME}" does not support thinking')
    options = _typed(body, "options", dict, {})
    return Call(
        model,
        users,
        prompt,
        stream=_typed(body, "stream", bool, True),
        schema=body.get("format"),
        keep_alive=_seconds(body.get("keep_alive")),
        num_predict=_typed(options, "num_predict", int, -1),
        num_ctx=_typed(options, "num_ctx", int, _DEFAULT_CONTEXT),
        chat=chat,
    )


def _typed(body: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Refusal(
            400, f"json: cannot unmarshal {_go_name(value)} into field {name} of type {kind.__name__}"
        )
    return value


def _go_name(value: Any) -> str:
    names = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _seconds(value: Any) -> float | None:
    """A duration as Go writes it ("1h30m", "500ms"), or seconds as a number. Raises Refusal."""
    if value is None:
        return None
    try:
        seconds = _parse_duration(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = None
    if seconds is None or isinstance(value, bool) or not math.isfinite(seconds):
        raise Refusal(400, f'time: invalid duration "{value}"')
    return seconds


def _parse_duration(text: str) -> float | None:
    rest, sign = (text[1:], -1.0) if text.startswith("-") else (text, 1.0)
    if rest.replace(".", "", 1).isdigit():
        return sign * float(rest)
    if not _DURATION.fullmatch(rest):
        return None
    return sign * sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(rest))
