"""The records of an answer, one JSON object each, as Ollama writes them."""

import json
from datetime import UTC, datetime
from typing import Any

from listener.engine.calls import Call


def piece_record(call: Call, text: str) -> dict[str, Any]:
    """A record with some more of the answer."""
    return {**_start(call, text), "done": False}


def last_record(call: Call, text: str, reason: str, **counts: int) -> dict[str, Any]:
    """The record that ends an answer; with `stream` off it is the only one and holds the whole text."""
    return {**_start(call, text), "done": True, "done_reason": reason, **counts}


def encode(record: dict[str, Any]) -> bytes:
    """A record as it goes over the wire."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _start(call: Call, text: str) -> dict[str, Any]:
    content = {"message": {"role": "assistant", "content": text}} if call.chat else {"response": text}
    created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"model": call.model, "created_at": created, **content}
