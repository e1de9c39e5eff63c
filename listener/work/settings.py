"""The settings of `listener work`. Their sentences and defaults stand in config.default.toml."""

from dataclasses import dataclass
from typing import Literal

from chassis.settings import key


@dataclass(frozen=True, slots=True)
class WorkSettings:
    """Everything that an operator can choose about the worker."""

    log_level: Literal["debug", "info", "warning", "error"] = key("log.level")
    log_format: Literal["auto", "json", "console"] = key("log.format")
    database_url: str = key("work.database_url", secret=True)
    admin_listen: str = key("work.admin_listen")
    hosts: tuple[str, ...] = key("work.hosts")
    slots_per_model: int = key("work.slots_per_model")
    default_model: str = key("work.default_model")
    context_tokens: int = key("work.context_tokens")
    keep_alive: str = key("work.keep_alive")
    first_token_seconds: float = key("work.first_token_seconds")
    idle_seconds: float = key("work.idle_seconds")
    deadline_seconds: float = key("work.deadline_seconds")
    max_attempts: int = key("work.max_attempts")
    budget_seconds: float = key("work.budget_seconds")
    keep_days: int = key("work.keep_days")
    drain_seconds: float = key("work.drain_seconds")
    text_processes: int = key("work.text_processes")
    text_cpu_seconds: float = key("work.text_cpu_seconds")
    text_memory_mb: int = key("work.text_memory_mb")
