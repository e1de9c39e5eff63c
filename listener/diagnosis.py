"""What an error of a model server means: its class, a stable code, a sentence. Decided on status and message.

Knows the errors of `ollama`, `httpx` and JSON; performs nothing.
"""

import json
import re
from typing import Any

import httpx
import ollama
import pydantic

from listener.errors import CapacityError, PermanentError, TaskError, TransientError, UnreachableError

# The client raises these as they are; anything else it raises is a mistake of ours.
CLIENT_ERRORS = (
    ollama.ResponseError,
    ollama.RequestError,
    httpx.HTTPError,
    httpx.StreamError,
    ConnectionError,
    json.JSONDecodeError,
    pydantic.ValidationError,
)

TOO_LONG = re.compile(
    r"context (length|size|window)|exceed(s|ed)?\b.*\b(context|n_ctx)|n_prompt_tokens", re.IGNORECASE
)
OUT_OF_MEMORY = re.compile(r"more (system )?memory|out of memory|unable to allocate", re.IGNORECASE)
BUSY = re.compile(r"busy|maximum pending|overloaded|too many requests", re.IGNORECASE)
NO_MODEL = re.compile(r"model .*not found", re.IGNORECASE | re.DOTALL)

TRY_LATER = "Nothing is wrong with the request; it is tried again by itself."


def diagnose(error: Exception) -> TaskError:
    """The class, code and sentence for what the client raised. Call it with CLIENT_ERRORS only."""
    if isinstance(error, ollama.ResponseError):
        return _diagnose_answer(error.status_code, innermost(error.error))
    if isinstance(error, ConnectionError | httpx.ConnectError | httpx.ConnectTimeout):
        return UnreachableError("model_unreachable", f"The model server does not answer. {TRY_LATER}")
    if isinstance(error, httpx.PoolTimeout):
        return CapacityError("model_busy", f"The model server has too much to do. {TRY_LATER}")
    if isinstance(error, httpx.TimeoutException):
        return TransientError("model_stalled", f"The model server stopped answering. {TRY_LATER}")
    if isinstance(error, httpx.HTTPError | httpx.StreamError):
        return TransientError("stream_broken", f"The model server broke off its answer. {TRY_LATER}")
    return TransientError("answer_unreadable", f"The model server's answer made no sense. {TRY_LATER}")


def innermost(text: Any) -> str:
    """The message inside an error that may hold JSON in its text, several times over."""
    for _ in range(3):
        if isinstance(text, str) and text.lstrip().startswith("{"):
            try:
                text = json.loads(text)
            except json.JSONDecodeError:
                break
        if not isinstance(text, dict):
            break
        inner = text.get("error", text.get("message"))
        if inner is None:
            break
        text = inner
    return text if isinstance(text, str) else json.dumps(text)


def too_long(needed: int, available: int) -> PermanentError:
    """The input does not fit: how long it is, in tokens, and what there is room for."""
    return PermanentError(
        "input_too_long",
        f"The text is too long for this model: about {needed} tokens, with room for {max(0, available)}."
        " Choose a model with a longer context (GET /models lists them), or send the text in parts.",
    )


def cut_off() -> PermanentError:
    """The server has silently dropped a part of the text: a result of the rest would be wrong."""
    return PermanentError(
        "input_too_long",
        "The text is too long for this model: the model server left out a part of it."
        " Choose a model with a longer context (GET /models lists them), or send the text in parts.",
    )


def _diagnose_answer(status: int, message: str) -> TaskError:
    if OUT_OF_MEMORY.search(message):
        return PermanentError(
            "model_out_of_memory",
            "The model server has too little memory for this model. Choose a smaller one.",
        )
    if status in (400, 413, 500, -1) and TOO_LONG.search(message):
        return cut_off()
    if status in (429, 503) and (status == 429 or BUSY.search(message)):
        return CapacityError("model_busy", f"The model server has too much to do. {TRY_LATER}")
    if status == 404 and NO_MODEL.search(message):
        return PermanentError(
            "model_not_found",
            "The model server no longer has this model. Choose another one: GET /models lists them.",
        )
    if status in (401, 403):
        return PermanentError(
            "model_refused",
            "The model server asks for credentials that this service does not have. Choose another model.",
        )
    if status == -1 or status >= 500 or status == 408:
        return TransientError("model_failed", f"The model server failed. {TRY_LATER}")
    return PermanentError(
        "model_refused",
        "The model server refuses this request. Choose another model: GET /models lists them.",
    )
