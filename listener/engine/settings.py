"""The settings of `listener engine`. Their sentences and defaults stand in config.default.toml."""

from dataclasses import dataclass
from typing import Literal

from chassis.settings import key


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Everything that an operator can choose about the built-in engine."""

    log_level: Literal["debug", "info", "warning", "error"] = key("log.level")
    log_format: Literal["auto", "json", "console"] = key("log.format")
    listen: str = key("engine.listen")
    admin_listen: str = key("engine.admin_listen")
    text_processes: int = key("engine.text_processes")
    text_cpu_seconds: float = key("engine.text_cpu_seconds")
    text_memory_mb: int = key("engine.text_memory_mb")
