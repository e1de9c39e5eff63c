"""Every way a model server has been seen to fail, and what it is taken for."""

import json

import httpx
import ollama
import pytest

from listener.diagnosis import diagnose, innermost
from listener.errors import CapacityError, PermanentError, TransientError, UnreachableError

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
    (503, "<html>Service Unavailable</html>", TransientError, "model_failed"),
    (502, "<html>Bad Gateway</html>", TransientError, "model_failed"),
    (504, "", TransientError, "model_failed"),
    (500, "model runner has unexpectedly stopped", TransientError, "model_failed"),
    (500, "timed out waiting for llama runner to start", TransientError, "model_failed"),
    (
        500,
        "model requires more system memory (9 GiB) than is available",
        PermanentError,
        "model_out_of_memory",
    ),
    (401, "unauthorized", PermanentError, "model_refused"),
    (-1, "an error was encountered while running the model: unexpected EOF", TransientError, "model_failed"),
    (-1, "CUDA error: out of memory", PermanentError, "model_out_of_memory"),
]


@pytest.mark.parametrize(
    ("status", "text", "kind", "code"), SEEN, ids=[f"{row[0]} {row[1][:30]}" for row in SEEN]
)
def test_an_answer_is_classed_by_its_status_and_words(status: int, text: str, kind: type, code: str) -> None:
    error = diagnose(ollama.ResponseError(text, status))
    assert (type(error), error.code) == (kind, code)
    assert error.message.endswith(".")


RAISED = [
    (ConnectionError("refused"), UnreachableError, "model_unreachable"),
    (httpx.ConnectError("refused"), UnreachableError, "model_unreachable"),
    (httpx.ConnectTimeout("slow"), UnreachableError, "model_unreachable"),
    (httpx.ReadTimeout("slow"), TransientError, "model_stalled"),
    (httpx.PoolTimeout("full"), CapacityError, "model_busy"),
    (httpx.RemoteProtocolError("peer closed connection"), TransientError, "stream_broken"),
    (httpx.ReadError("reset"), TransientError, "stream_broken"),
    (json.JSONDecodeError("no", "", 0), TransientError, "answer_unreadable"),
]


@pytest.mark.parametrize(("raised", "kind", "code"), RAISED, ids=[type(row[0]).__name__ for row in RAISED])
def test_what_the_client_raises_is_classed(raised: Exception, kind: type, code: str) -> None:
    error = diagnose(raised)
    assert (type(error), error.code) == (kind, code)


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
