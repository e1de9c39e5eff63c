"""precis.queue.tables: what an operator sees, at the widths of real terminals."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from precis.queue.overview import Worker
from precis.queue.quotas import Allowance
from precis.queue.requests import Attempt, Dead, Detail, Request
from precis.queue.tables import show_allowance, show_dead, show_one, show_rows, show_workers
from rich.console import Console

AT = datetime(2026, 11, 24, 16, 3, 9, tzinfo=UTC)
MODEL = "llama3.1:8b-instruct-q4_K_M"


def shown(show: Callable[[Console], None], width: int) -> list[str]:
    output = io.StringIO()
    show(Console(file=output, width=width, highlight=False))
    return [line.rstrip() for line in output.getvalue().splitlines()]


def row(number: int = 1, **columns: Any) -> Request:
    given: dict[str, Any] = {
        "id": UUID(int=0x1A2B3C4D << 96 | number),
        "owner": "ann.with.a.long.name@example.com",
        "task": "summarize",
        "model": MODEL,
        "state": "queued",
        "priority": 0,
        "attempts": 0,
        "progress": 0.0,
        "error_code": None,
        "created_at": AT,
        "run_at": None,
        "claimed_at": None,
        "finished_at": None,
        "age_seconds": 65.0,
        "waiting_seconds": None,
        "due_seconds": None,
        "running_seconds": None,
    }
    return Request(**{**given, **columns})


def detail(**columns: Any) -> Detail:
    given = dict.fromkeys(Detail.__dataclass_fields__)
    return Detail(**{**given, "style": "plain", "source": "text", "text_bytes": 2048, **columns})


ROWS = [
    row(state="queued", waiting_seconds=64.0),
    row(state="queued", waiting_seconds=4.0, attempts=1, error_code="model_failed"),
    row(state="scheduled", due_seconds=3600 * 5.0),
    row(state="running", attempts=2, progress=0.4, running_seconds=12.0),
    row(state="done", attempts=1, running_seconds=3.0),
    row(state="failed", attempts=5, error_code="deadline_exceeded"),
    row(state="cancelled"),
]


def test_rows_of_every_state_fit_a_terminal_of_80_columns() -> None:
    lines = shown(lambda console: show_rows(console, ROWS, limit=20), 80)
    assert lines == [
        "id        owner      model     state      tries   age",
        "1a2b3c4d  ann.with…  llama3.…  queued            65 s",
        "1a2b3c4d  ann.with…  llama3.…  queued         1  65 s  waits 4.0 s, model_failed",
        "1a2b3c4d  ann.with…  llama3.…  scheduled         65 s  in 5 h",
        "1a2b3c4d  ann.with…  llama3.…  running        2  65 s  40% in 12 s",
        "1a2b3c4d  ann.with…  llama3.…  done           1  65 s  took 3.0 s",
        "1a2b3c4d  ann.with…  llama3.…  failed         5  65 s  deadline_exceeded",
        "1a2b3c4d  ann.with…  llama3.…  cancelled         65 s",
    ]


def test_a_wide_terminal_shows_the_task_and_cuts_nothing_off() -> None:
    rows = [row(model="extractive", state="failed", attempts=5, error_code="worker_lost")]
    assert shown(lambda console: show_rows(console, rows, limit=1), 120) == [
        "id        owner                             task       model       state   tries   age",
        "1a2b3c4d  ann.with.a.long.name@example.com  summarize  extractive  failed      5  65 s  worker_lost",
        "The first 1; --limit shows more.",
    ]


def test_an_empty_list_says_so() -> None:
    assert shown(lambda console: show_rows(console, [], limit=20), 80) == ["No request is like that."]


@pytest.mark.parametrize(("columns", "more", "state"), [
    ({}, {"ahead": 0}, "queued, next of its model, waits 7.0 s"),
    ({}, {"ahead": 1200}, "queued, 1,200 of its model ahead of it, waits 7.0 s"),
    ({}, {"ahead": 10_000}, "queued, 10,000 or more of its model ahead of it, waits 7.0 s"),
    ({}, {"model_paused_at": AT}, "queued, next of its model, waits 7.0 s, its model is paused"),
    ({}, {"queue_paused_at": AT}, "queued, next of its model, waits 7.0 s, paused"),
    ({"state": "scheduled", "run_at": AT, "due_seconds": 9.0, "error_code": "model_busy"}, {},
     "scheduled, for 2026-11-24 16:03:09 UTC, in 9.0 s, after model_busy"),
    ({"state": "running", "progress": 0.4, "running_seconds": 3.0}, {"worker": "box", "worker_id": 3},
     "running, 40% in 3.0 s, on box (3)"),
    ({"state": "failed", "error_code": "model_failed"}, {}, "failed, model_failed"),
])  # fmt: skip
def test_one_row_says_in_a_line_how_it_stands(
    columns: dict[str, Any], more: dict[str, Any], state: str
) -> None:
    one = row(**{"waiting_seconds": 7.0, **columns})
    lines = shown(lambda console: show_one(console, one, detail(**more), []), 120)
    assert f"state   {state}" in lines
    assert lines[-1] == "No worker has taken it yet."


def attempt(n: int, outcome: str, **columns: Any) -> Attempt:
    why = {"error_code": None, "error_message": None, **columns}
    return Attempt(n, 3, "box", AT, AT, 12.0, outcome, **why)


def test_the_history_of_a_row_fits_a_terminal_of_80_columns() -> None:
    message = "The model gave no answer that could be used. Try again, or with another model."
    failed = row(state="failed", attempts=2, error_code="model_failed", finished_at=AT)
    attempts = [
        attempt(1, "retried", error_code="server_error", error_message="The server said \x1b[31m500."),
        attempt(2, "failed", error_code="model_failed", error_message=message),
    ]
    more = detail(title="notes.txt", target_ratio=0.4, language="de", error_message=message)
    assert shown(lambda console: show_one(console, failed, more, attempts), 80) == [
        "1a2b3c4d-0000-0000-0000-000000000001",
        "owner   ann.with.a.long.name@example.com",
        "title   notes.txt",
        "task    summarize, to 40%, plain, de",
        "source  a text of 2 KiB",
        "model   llama3.1:8b-instruct-q4_K_M",
        "state   failed, model_failed",
        "why     The model gave no answer that could be used. Try again, or with another",
        "        model.",
        "asked   2026-11-24 16:03:09 UTC, 65 s ago",
        "ended   2026-11-24 16:03:09 UTC",
        "",
        "attempt  worker   claimed (UTC)    for  outcome  code",
        "      1  box (3)  11-24 16:03:09  12 s  retried  server_error",
        "      2  box (3)  11-24 16:03:09  12 s  failed   model_failed",
        "1: The server said �[31m500.",
    ]


def test_dead_letters_come_in_groups_and_then_one_by_one() -> None:
    by_code = [
        Dead("model_failed", 1200, 7, AT, "The model gave no answer that could be used."),
        Dead("x", 1, 1, AT, None),
    ]
    rows = [row(state="failed", attempts=5, error_code="model_failed", finished_at=AT)]
    assert shown(lambda console: show_dead(console, by_code, rows), 80) == [
        "code          requests  owners  the last (UTC)  said",
        "model_failed     1,200       7  11-24 16:03:09  The model gave no answer that c…",
        "x                    1       1  11-24 16:03:09",
        "",
        "id        owner            model             tries  failed (UTC)    code",
        "1a2b3c4d  ann.with.a.lon…  llama3.1:8b-ins…      5  11-24 16:03:09  model_failed",
        "The last 1 of 1,201; --limit shows more.",
    ]
    assert shown(lambda console: show_dead(console, [], []), 80) == ["No dead letters."]


def test_workers_are_told_with_their_lease_and_slots() -> None:
    workers = [
        Worker(3, "box", "0.1.0", False, AT, 14.2, [MODEL, "extractive"], 4, 3),
        Worker(4, "box2", "0.1.0", True, AT, 9.0, [MODEL], 0, 1),
        Worker(5, "box3", "0.1.0", False, AT, None, [MODEL], 0, 0),
    ]
    assert shown(lambda console: show_workers(console, workers), 80) == [
        "worker  name  lease  state       busy  models",
        "     3  box    14 s  working   3 of 4  llama3.1:8b-instruct-q4_K_M, extractive",
        "     4  box2  9.0 s  draining  1 of 0  llama3.1:8b-instruct-q4_K_M",
        "     5  box3         gone      0 of 0  llama3.1:8b-instruct-q4_K_M",
    ]
    assert "version" in shown(lambda console: show_workers(console, workers), 120)[0]
    assert shown(lambda console: show_workers(console, []), 80) == [
        "No worker is registered. Start one: `listener work`."
    ]


def test_an_allowance_is_told_with_what_is_used_of_it() -> None:
    everybody = Allowance("everybody", False, 10_000, 1 << 29, None, 600, 1.0, None, None, None)
    ann = Allowance("ann@example.com", True, 5, None, 100, 60, 2.5, 3, 6, 2592)
    assert shown(lambda console: show_allowance(console, everybody, [ann]), 80) == [
        "everybody",
        "requests a day    10,000",
        "bytes a day       512 MiB",
        "waiting           no limit",
        "changes a minute  600",
        "weight            1",
        "",
        "account          requests a day  bytes a day  waiting  changes a minute  weight",
        "ann@example.com               5     no limit      100                60     2.5",
    ]
    assert shown(lambda console: show_allowance(console, ann, []), 80) == [
        "ann@example.com, an allowance of its own",
        "requests a day    5, 6 used",
        "bytes a day       no limit, 2.5 KiB used",
        "waiting           100, 3 used",
        "changes a minute  60",
        "weight            2.5",
    ]
