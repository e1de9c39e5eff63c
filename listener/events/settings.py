"""The settings of `listener events`."""

from dataclasses import dataclass
from typing import Literal

from chassis.settings import key


@dataclass(frozen=True, slots=True)
class EventsSettings:
    """One field per key; config.default.toml says what each means."""

    log_level: Literal["debug", "info", "warning", "error"] = key("log.level")
    log_format: Literal["auto", "json", "console"] = key("log.format")
    database_url: str = key("events.database_url", secret=True)
    listen: str = key("events.listen")
    admin_listen: str = key("events.admin_listen")
    allowed_origins: tuple[str, ...] = key("events.allowed_origins")
    streams_per_account: int = key("events.streams_per_account")
    streams_max: int = key("events.streams_max")
    stream_max_seconds: int = key("events.stream_max_seconds")
