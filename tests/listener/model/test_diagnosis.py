"""Every way a model server has been seen to fail, and what it is taken for."""

import json
import socket
import ssl
from typing import Any

import httpx
import pytest

from listener.errors import CapacityError, PermanentError, TransientError, UnreachableError
from listener.model.diagnosis import (
    IN_STREAM,
    AnswerError,
    OversizeError,
    UnreadableError,
    diagnose,
    innermost,
    reason,
)

NESTED = json.dumps(
    {
        "error": json.dumps(
            {"error": {"code": 400, "message": "the request exceeds the available context size", "n_ctx": 8}}
        )
    }
)

SEEN = [
    (404, "model 'x' not found", PermanentError, "model_not_found"),
    (404, 'model "x" not found, try pulling it first', PermanentError, "model_not_found"),
    (404, "404 page not found", PermanentError, "model_refused"),
    (400, '"x" does not support thinking', PermanentError, "model_refused"),
    (400, "the input length exceeds the context length", PermanentError, "input_too_long"),
    (400, NESTED, PermanentError, "input_too_long"),
    (503, "server busy, please try again.  maximum pending requests exceeded", CapacityError, "model_busy"),
    (429, "", CapacityError, "model_busy"),
    (503, "<html>Service Unavailable</html>", TransientError, "model_unavailable"),
    (502, "<html>Bad Gateway</html>", TransientError, "model_unavailable"),
    (504, "", TransientError, "model_failed"),
    (500, "model runner has unexpectedly stopped", TransientError, "model_failed"),
    (500, "timed out waiting for llama runner to start", TransientError, "model_failed"),
    (
        500,
        "model requires more system memory (9 GiB) than is available",
        PermanentError,
        "model_out_of_memory",
    ),
    (401, "unauthorized", PermanentError, "model_forbidden"),
    (-1, "an error was encountered while running the model: unexpected EOF", TransientError, "model_failed"),
    (-1, "CUDA error: out of memory", PermanentError, "model_out_of_memory"),
    (307, "", UnreachableError, "model_moved"),
    (
        500,
        '{"error": "the engine has failed at this text", "code": "engine_failed"}',
        PermanentError,
        "engine_failed",
    ),
    (500, '{"error": "failed", "code": ["engine_failed"]}', TransientError, "model_failed"),
]


@pytest.mark.parametrize(
    ("status", "text", "kind", "code"), SEEN, ids=[f"{row[0]} {row[1][:30]}" for row in SEEN]
)
def test_an_answer_is_classed_by_its_status_and_words(status: int, text: str, kind: type, code: str) -> None:
    error = diagnose(AnswerError(status, text))
    assert (type(error), error.code) == (kind, code)
    assert error.message.endswith(".")


def caused(error: Exception, cause: Exception) -> Exception:
    """As httpx wraps what a socket raises, twice."""
    middle = OSError("All connection attempts failed")
    middle.__cause__, error.__cause__ = cause, middle
    return error


RAISED = [
    (httpx.ConnectError("refused"), UnreachableError, "model_unreachable"),
    (httpx.ConnectTimeout("slow"), UnreachableError, "model_unreachable"),
    (caused(httpx.ConnectError("x"), socket.gaierror(-2, "x")), UnreachableError, "model_unresolved"),
    (caused(httpx.ConnectError("x"), ssl.SSLCertVerificationError("x")), UnreachableError, "model_untrusted"),
    (httpx.InvalidURL("no port"), UnreachableError, "model_unreachable"),
    (httpx.UnsupportedProtocol("ftp"), UnreachableError, "model_unreachable"),
    (httpx.ReadTimeout("slow"), TransientError, "model_stalled"),
    (httpx.PoolTimeout("full"), CapacityError, "model_busy"),
    (httpx.RemoteProtocolError("peer closed connection"), TransientError, "stream_broken"),
    (httpx.ReadError("reset"), TransientError, "stream_broken"),
    (ConnectionResetError("reset"), TransientError, "stream_broken"),
    (UnreadableError("no JSON"), TransientError, "answer_unreadable"),
    (OversizeError("much"), TransientError, "answer_too_long"),
]


@pytest.mark.parametrize(("raised", "kind", "code"), RAISED, ids=[f"{row[0]!r:.40}" for row in RAISED])
def test_what_the_client_raises_is_classed(raised: Exception, kind: type, code: str) -> None:
    error = diagnose(raised)
    assert (type(error), error.code) == (kind, code)


def test_what_a_busy_server_wishes_is_kept() -> None:
    for status in (429, 503):
        error = diagnose(AnswerError(status, "", retry_after_seconds=30.0))
        assert isinstance(error, CapacityError)
        assert error.retry_after_seconds == 30.0


REASONS = [
    (httpx.ConnectError("refused"), "takes no connection"),
    (httpx.ConnectTimeout(""), "no connection comes about in time"),
    (httpx.ReadTimeout(""), "does not answer in time"),
    (TimeoutError(), "does not answer in time"),
    (caused(httpx.ConnectError("x"), socket.gaierror(-2, "x")), "name cannot be resolved"),
    (caused(httpx.ConnectError("x"), ssl.SSLCertVerificationError("x")), "no TLS connection that can be"),
    (
        AnswerError(307, "", location="http://other:1/api\n"),
        "redirects to 'http://other:1/api\\n': enter that",
    ),
    (AnswerError(503, "loading"), "answers with HTTP 503: 'loading'"),
    (httpx.ReadError("reset"), "breaks off"),
    (UnreadableError("no JSON object"), "no JSON object"),
]


@pytest.mark.parametrize(("error", "words"), REASONS, ids=[f"{row[0]!r:.40}" for row in REASONS])
def test_an_operator_is_told_what_is_wrong(error: Exception, words: str) -> None:
    assert words in reason(error)


@pytest.mark.parametrize(
    "said", ["exceeds " * 100_000, "[" * 100_000, '{"error":' * 100_000, {"a": [1]}, ["x"], 7, True]
)
def test_whatever_a_server_says_of_its_error_is_classed(said: Any) -> None:
    assert diagnose(AnswerError(IN_STREAM, said)).code == "model_failed"
    assert len(reason(AnswerError(500, said))) < 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plain", "plain"),
        ('{"error": "inside"}', "inside"),
        (json.loads(NESTED)["error"], "the request exceeds the available context size"),
        ("{not json", "{not json"),
        ('{"other": 1}', '{"other": 1}'),
    ],
)
def test_the_message_is_found_inside_json_inside_json(text: str, message: str) -> None:
    assert innermost(text) == message
