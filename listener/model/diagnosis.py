"""What an error of a model server means: for a request as one of the rulings, for an operator as a reason.
Decided on status, message and what lies below the client's error.

Knows the errors of the client and of `httpx`; performs nothing.
"""

import json
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import httpx

from listener.errors import CapacityError, PermanentError, TaskError
from listener.model.rulings import RULINGS, SHORTER, rule

IN_STREAM = -1  # the "status" of an error that comes in the middle of an answer
RETRY_AFTER_CAP_SECONDS = 120.0
MESSAGE_CHARACTERS = 2_000  # of what a server says of its error, so much is looked at
TOLD_CHARACTERS = 200


class AnswerError(Exception):
    """The server answered with an error. `status` is that of HTTP, or IN_STREAM."""

    def __init__(
        self, status: int, text: Any, *, location: str = "", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text
        self.location = location
        self.retry_after_seconds = retry_after_seconds


class UnreadableError(Exception):
    """What the server sent is not what the interface says; the text says how."""


class OversizeError(Exception):
    """The server sent more than is listened to; the text says how much that is."""


# What a call of a server can end with; anything else is a mistake of ours. Below httpx's own lie errors of
# sockets and TLS that it lets through.
CLIENT_ERRORS = (
    AnswerError,
    UnreadableError,
    OversizeError,
    httpx.HTTPError,
    httpx.StreamError,
    httpx.InvalidURL,
    OSError,
)

TOO_LONG = re.compile(
    r"context (length|size|window)|exceed(s|ed)?\b.*\b(context|n_ctx)|n_prompt_tokens", re.IGNORECASE
)
OUT_OF_MEMORY = re.compile(r"more (system )?memory|out of memory|unable to allocate", re.IGNORECASE)
BUSY = re.compile(r"busy|maximum pending|overloaded|too many requests", re.IGNORECASE)
NO_MODEL = re.compile(r"model .*not found", re.IGNORECASE | re.DOTALL)
ENGINE_FAILED = "engine_failed"  # the `code` beside the engine's error


def diagnose(error: Exception) -> TaskError:
    """The ruling for what the client raised. Call it with CLIENT_ERRORS only."""
    if isinstance(error, AnswerError):
        return _diagnose_answer(error)
    if isinstance(error, UnreadableError):
        return rule("answer_unreadable")
    if isinstance(error, OversizeError):
        return rule("answer_too_long")
    return rule(_code_of(error))


def reason(error: Exception) -> str:
    """Why a server cannot be used, for its operator. What the server said of it stands in quotes."""
    match error:
        case AnswerError() if error.location:
            return f"it redirects to {told(error.location)}: enter that address in work.hosts if it is right"
        case AnswerError():
            return f"it answers with HTTP {error.status}: {told(innermost(error.text))}"
        case UnreadableError() | OversizeError():
            return f"{error}"
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return "no connection comes about in time"
        case TimeoutError() | httpx.TimeoutException():
            return "it does not answer in time"
    words = {
        "model_unresolved": "its name cannot be resolved",
        "model_untrusted": "no TLS connection that can be trusted",
        "model_unreachable": "it takes no connection",
    }.get(_code_of(error), "it breaks off")
    return f"{words} ({type(error).__name__}: {told(str(error))})"


def told(text: str) -> str:
    """Words of a server as they may stand in a log: in quotes, short, on one line."""
    return ascii(text[:TOLD_CHARACTERS])


def retry_after(error: Exception) -> float:
    """For how many seconds the server wants to be left alone."""
    return (error.retry_after_seconds or 0.0) if isinstance(error, AnswerError) else 0.0


def innermost(text: Any) -> str:
    """The message inside an error that may hold JSON in its text, several times over."""
    for _ in range(3):
        if isinstance(text, str) and text.lstrip().startswith("{"):
            try:
                text = json.loads(text)
            except (ValueError, RecursionError):
                break
        if not isinstance(text, dict):
            break
        inner = text.get("error", text.get("message"))
        if inner is None:
            break
        text = inner
    return _plain(text)[:MESSAGE_CHARACTERS]


def too_long(needed: int, available: int) -> PermanentError:
    """The input does not fit: how long it is, in tokens, and what there is room for."""
    return PermanentError(
        "input_too_long",
        f"The text is too long for this model: about {needed} tokens, with room for {max(0, available)}."
        + SHORTER,
    )


def _diagnose_answer(error: AnswerError) -> TaskError:
    status, message = error.status, innermost(error.text)
    if _is_engines(error):
        return rule(ENGINE_FAILED)
    if 300 <= status < 400:
        return rule("model_moved")
    if OUT_OF_MEMORY.search(message):
        return rule("model_out_of_memory")
    if status in (400, 413, 500, IN_STREAM) and TOO_LONG.search(message):
        return rule("input_too_long")
    if status == 429 or (status == 503 and (error.retry_after_seconds is not None or BUSY.search(message))):
        return CapacityError(
            "model_busy",
            RULINGS["model_busy"].message,
            retry_after_seconds=error.retry_after_seconds or 0.0,
        )
    if status == 404 and NO_MODEL.search(message):
        return rule("model_not_found")
    return rule(_code_of_status(status))


def _code_of_status(status: int) -> str:
    if status in (502, 503):
        return "model_unavailable"
    if status in (401, 403):
        return "model_forbidden"
    if status == IN_STREAM or status >= 500 or status == 408:
        return "model_failed"
    return "model_refused"


def _is_engines(error: AnswerError) -> bool:
    """Whether our own engine says that it has failed; a scripted fault or another server never says so."""
    try:
        said = json.loads(error.text) if isinstance(error.text, str) else error.text
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("code") == ENGINE_FAILED


def _code_of(error: Exception) -> str:
    """Of an error of the connection."""
    below = list(_chain(error))
    if any(isinstance(cause, ssl.SSLError) for cause in below):
        return "model_untrusted"
    if any(isinstance(cause, socket.gaierror) for cause in below):
        return "model_unresolved"
    if isinstance(
        error, httpx.ConnectError | httpx.ConnectTimeout | httpx.InvalidURL | httpx.UnsupportedProtocol
    ) or any(isinstance(cause, ConnectionRefusedError) for cause in below):
        return "model_unreachable"
    if isinstance(error, httpx.PoolTimeout):
        return "model_busy"
    if isinstance(error, httpx.TimeoutException):
        return "model_stalled"
    return "stream_broken"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it."""
    cause: BaseException | None = error
    for _ in range(10):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value)
    except (ValueError, RecursionError):
        return type(value).__name__
