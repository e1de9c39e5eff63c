"""The text of a stream: server-sent events as the HTML standard frames them.

Knows no connection. Data is one line: JSON holds no line break.
"""

import json
from typing import Any, Final
from uuid import UUID

from listener.events.incarnation import Loss, Position
from listener.events.reader import Event

HEARTBEAT: Final = b":hb\n\n"


def retry(milliseconds: int) -> bytes:
    """How long the client shall wait before it comes back."""
    return f"retry: {milliseconds}\n\n".encode()


def cursor(position: Position) -> bytes:
    """Stores where the client stands. Without a data line nothing is dispatched to the page."""
    return f"id: {position}\n\n".encode()


def change(event: Event, position: Position) -> bytes:
    """The row as it is, or that it is gone."""
    head = f'"id":"{event.ref}","kind":{json.dumps(event.kind)}'
    if event.gone:
        return _frame("tombstone", "{" + head + "}", position)
    tail = ',"truncated":true' if event.truncated else ""
    return _frame("change", "{" + head + ',"row":' + (event.row or "null") + tail + "}", position)


def partial(request_id: UUID, epoch: int, offset: int, text: str) -> bytes:
    """Text that a request has got; `offset` characters of this epoch came before. It carries no id."""
    return _frame("partial", _json({"id": str(request_id), "epoch": epoch, "from": offset, "text": text}))


def reset(reason: Loss, position: Position) -> bytes:
    """What the client has seen cannot be continued: it re-reads its rows and goes on from here."""
    return _frame("reset", _json({"reason": reason}), position)


def token(code: str, message: str) -> bytes:
    """The token is no longer good: come back with another one."""
    return _frame("token", _json({"code": code, "message": message}))


def bye(reason: str, retry_milliseconds: int) -> bytes:
    """The stream ends on our side: come back."""
    return f"retry: {retry_milliseconds}\n".encode() + _frame("bye", _json({"reason": reason}))


def _frame(event: str, data: str, position: Position | None = None) -> bytes:
    event_id = f"id: {position}\n" if position else ""
    return f"event: {event}\n{event_id}data: {data}\n\n".encode("utf-8", "replace")


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
