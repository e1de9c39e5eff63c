"""How a process speaks: structlog to standard output, as JSON lines or for people, without secrets.

Knows field names that are secret anywhere, and no event by name.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal


@contextmanager
def _without(name: str) -> Iterator[None]:
    """No module of that name can be imported meanwhile."""
    loaded = sys.modules.pop(name, None)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        if loaded is not None:
            sys.modules[name] = loaded


# structlog loads it wherever it is installed, for a kind of traceback that is not used here: 3 MB of a
# process that imports this module before structlog, as the listener does.
with _without("rich"):
    import structlog
    from structlog.typing import EventDict, Processor, WrappedLogger

EVENT_MAX_BYTES = 16 * 1024  # journald splits lines at 48 KiB, which would break the JSON
VALUE_MAX_CHARS = 4 * 1024
LEADING = ("ts", "level", "event", "service", "request_id")  # first in a line, and kept when the rest is cut
REDACTED = "[redacted]"

# A field is secret if one of these is a word of its name: access_token, Set-Cookie, X-Secret. Counts such as
# `tokens` are other words, and numbers pass anyway. `code` alone is an OAuth code; `error_code` is none.
SECRET_WORDS = {"password", "passwd", "token", "authorization", "secret", "cookie", "credential"}
SECRET_NAMES = {"code", "auth_code", "authorization_code", "master_key", "private_key", "database_url"}
SECRET_TEXTS = (
    (re.compile(r"\b([a-z][a-z+]{0,15}://[^\s:/@]*):[^\s/@]+@"), r"\1:" + REDACTED + "@"),  # a URL's password
    (re.compile(r"\beyJ[\w-]+\.[\w-]*\.[\w-]*"), REDACTED),  # a token
    (re.compile(r"(?i)\b(bearer|basic) +[\w.~+/=-]+"), r"\1 " + REDACTED),
)
# syslog's priorities, which systemd reads from a line's <N> prefix
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def configure(service: str, *, level: str, format: Literal["auto", "json", "console"]) -> None:
    """Set up structlog, and send what libraries log the same way. Call once, first thing in the process."""
    structlog.configure(
        processors=[*_enrich(service), *_render(format)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Forward()]
    root.setLevel(max(logging.getLevelName(level.upper()), logging.INFO))
    logging.captureWarnings(True)


def under_journal(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether standard output is systemd's journal; the variable alone is inherited by children elsewhere."""
    try:
        output = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{output.st_dev}:{output.st_ino}"


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what is secret by its field's name, or looks like a password or token inside a text."""
    return {name: _redacted(name, value) for name, value in event.items()}


def _enrich(service: str) -> list[Processor]:
    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {"service": service, **event}

    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        name,
        structlog.processors.StackInfoRenderer(),
    ]


def _render(format: str) -> list[Processor]:
    if format == "console" or (format == "auto" and sys.stdout.isatty()):
        stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False, key="timestamp")
        tracebacks = structlog.processors.format_exc_info
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), pad_event_to=0)
        return [stamp, tracebacks, redact, renderer]
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts")
    line = _journal_line if under_journal() else _line
    return [stamp, structlog.processors.format_exc_info, redact, line]


def _line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    head = {name: event[name] for name in LEADING if name in event}
    text = json.dumps(_shortened({**head, **event}, VALUE_MAX_CHARS), default=str)
    if len(text) > EVENT_MAX_BYTES:
        return json.dumps({name: str(value)[:200] for name, value in head.items()} | {"cut_bytes": len(text)})
    return text


def _journal_line(logger: WrappedLogger, method: str, event: EventDict) -> str:
    return f"<{PRIORITIES.get(event['level'], 6)}>" + _line(logger, method, event)


def _shortened(event: Mapping[str, Any], limit: int) -> dict[str, Any]:
    def short(value: Any) -> Any:
        if isinstance(value, str) and len(value) > limit:
            return f"{value[: limit // 2]} [... {len(value) - limit} characters ...] {value[-limit // 2 :]}"
        return value

    return {name: short(value) for name, value in event.items()}


def _redacted(name: str, value: Any) -> Any:
    if isinstance(value, bool | int | float | None):
        return value
    if _is_secret(name):
        return REDACTED
    if isinstance(value, Mapping):
        return {str(key): _redacted(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", item) for item in value]
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    for pattern, replacement in SECRET_TEXTS:
        text = pattern.sub(replacement, text)
    return text


def _is_secret(name: str) -> bool:
    words = re.split(r"[^a-z0-9]+", name.lower())
    return not SECRET_WORDS.isdisjoint(words) or "_".join(words) in SECRET_NAMES


class _Forward(logging.Handler):
    """Hands a record of the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"logger": record.name, "message": record.getMessage(), "exc_info": record.exc_info}
        structlog.get_logger().log(record.levelno, "library.message", **fields)
