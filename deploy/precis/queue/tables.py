"""The answers of `precis queue` as a person reads them: lists, one row with its history, dead letters,
workers, quotas. Knows no database."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from precis.queue.format import (
    Cell,
    Pairs,
    clean,
    moment,
    note,
    number,
    pairs,
    short,
    size,
    span,
    stamp,
    state,
    table,
)
from precis.queue.overview import Worker
from precis.queue.quotas import Allowance
from precis.queue.requests import MOST_AHEAD, Attempt, Dead, Detail, Request

SOME_SECONDS = 2.0  # between the insert and the wait of a row that was claimed or retried in between
WIDE = 100  # columns from which there is room for more
SOURCES = {"url": "an address", "document": "a document"}


def show_rows(console: Console, rows: list[Request], *, limit: int) -> None:
    if not rows:
        console.print(note("No request is like that."))
        return
    wide = console.width >= WIDE
    names = ("id", "owner ", "model ", "state", " tries", " age", "")
    columns = (*names[:2], "task", *names[2:]) if wide else names
    console.print(table(*columns, rows=[_cells(row, wide=wide) for row in rows]))
    if len(rows) == limit:
        console.print(note(f"The first {limit}; --limit shows more."))


def show_one(console: Console, row: Request, detail: Detail, attempts: list[Attempt]) -> None:
    console.print(Text(str(row.id), "bold"))
    console.print(pairs(_about(row, detail)))
    console.print()
    if not attempts:
        console.print(note("No worker has taken it yet."))
        return
    rows = [_attempt(attempt) for attempt in attempts]
    console.print(table(" attempt", "worker ", "claimed (UTC)", " for", "outcome", "code", rows=rows))
    for attempt in attempts:
        if attempt.error_message and attempt.error_message != detail.error_message:
            console.print(Text(f"{attempt.n}: {clean(attempt.error_message)}", "dim"))


def show_dead(console: Console, by_code: list[Dead], rows: list[Request]) -> None:
    if not by_code:
        console.print(note("No dead letters."))
        return
    console.print(
        table("code", " requests", " owners", "the last (UTC)", "said ", rows=map(_by_code, by_code))
    )
    console.print()
    console.print(table("id", "owner ", "model ", " tries", "failed (UTC)", "code", rows=map(_dead, rows)))
    total = sum(dead.requests for dead in by_code)
    if len(rows) < total:
        console.print(note(f"The last {len(rows)} of {number(total)}; --limit shows more."))


def show_workers(console: Console, workers: list[Worker]) -> None:
    if not workers:
        console.print(note("No worker is registered. Start one: `listener work`."))
        return
    console.print(workers_table(workers, wide=console.width >= WIDE))


def workers_table(workers: list[Worker], *, wide: bool) -> Table:
    columns = (" worker", "name ", *(("version ",) if wide else ()), " lease", "state", " busy", "models ")
    return table(*columns, rows=[_worker(worker, wide=wide) for worker in workers])


def show_allowance(console: Console, allowance: Allowance, own: list[Allowance]) -> None:
    """One account's, or everybody's with those who have their own."""
    console.print(Text.assemble((clean(allowance.who), "bold"), (_whose(allowance), "dim")))
    console.print(pairs(_limits(allowance)))
    if own:
        console.print()
        names = ("account ", " requests a day", " bytes a day", " waiting", " changes a minute", " weight")
        console.print(table(*names, rows=map(_allowance, own)))


def _worker_state(worker: Worker) -> Text:
    if worker.lease_seconds is None or worker.lease_seconds < 0:
        return Text("gone", "red")
    return Text("draining", "yellow") if worker.draining else Text("working", "green")


def _cells(row: Request, *, wide: bool) -> list[Cell]:
    tries = str(row.attempts) if row.attempts else ""
    left: list[Cell] = [short(row.id), clean(row.owner)]
    task: list[Cell] = [row.task] if wide else []
    return [*left, *task, clean(row.model), state(row.state), tries, span(row.age_seconds), _note(row)]


def _note(row: Request) -> Text:
    """What there is to say of a row in its state."""
    match row.state:
        case "running":
            return Text(f"{row.progress:.0%} in {span(row.running_seconds)}")
        case "queued":
            was_back = row.age_seconds - (row.waiting_seconds or 0) > SOME_SECONDS
            said = f"waits {span(row.waiting_seconds)}" if was_back else ""
        case "scheduled":
            said = f"in {span(row.due_seconds)}"
        case "done":
            return note(f"took {span(row.running_seconds)}")
        case _:
            said = ""
    return Text(", ".join(filter(None, (said, row.error_code))), "red" if row.state == "failed" else "dim")


def _about(row: Request, detail: Detail) -> Pairs:
    wish = (row.task, _length(detail), detail.style, detail.language or "")
    return [
        ("owner", clean(row.owner)),
        ("title", clean(detail.title)),
        ("task", ", ".join(filter(None, wish))),
        ("source", SOURCES.get(detail.source) or f"a text of {size(detail.text_bytes)}"),
        ("model", clean(row.model)),
        ("priority", f"{row.priority:+d}" if row.priority else ""),
        ("state", _state(row, detail)),
        ("why", Text(clean(detail.error_message), "red" if row.state == "failed" else "")),
        ("asked", f"{moment(row.created_at)}, {span(row.age_seconds)} ago"),
        ("ended", moment(row.finished_at)),
        ("result", f"{number(detail.result_characters)} characters" if detail.result_characters else ""),
    ]


def _state(row: Request, detail: Detail) -> Text:
    text = state(row.state)
    match row.state:
        case "queued":
            text.append(f", {_ahead(detail.ahead or 0)}, waits {span(row.waiting_seconds)}", "dim")
        case "scheduled":
            text.append(f", for {moment(row.run_at)}, in {span(row.due_seconds)}", "dim")
        case "running" if detail.worker_id:
            worker = f"{clean(detail.worker)} ({detail.worker_id})"
            text.append(f", {row.progress:.0%} in {span(row.running_seconds)}, on {worker}", "dim")
    if row.error_code and row.state in ("queued", "scheduled", "failed"):
        text.append(f", {row.error_code}" if row.state == "failed" else f", after {row.error_code}", "dim")
    if row.state == "queued" and (detail.queue_paused_at or detail.model_paused_at):
        text.append(", paused" if detail.queue_paused_at else ", its model is paused", "yellow")
    return text


def _ahead(count: int) -> str:
    if not count:
        return "next of its model"
    return f"{number(count)}{' or more' if count == MOST_AHEAD else ''} of its model ahead of it"


def _length(detail: Detail) -> str:
    if detail.target_words:
        return f"{number(detail.target_words)} words"
    return f"to {detail.target_ratio:.0%}" if detail.target_ratio else ""


def _attempt(attempt: Attempt) -> list[Cell]:
    worker = f"{clean(attempt.worker)} ({attempt.worker_id})" if attempt.worker else str(attempt.worker_id)
    began, lasted = stamp(attempt.claimed_at), span(attempt.seconds)
    return [str(attempt.n), worker, began, lasted, state(attempt.outcome), attempt.error_code or ""]


def _by_code(dead: Dead) -> list[Cell]:
    counts: list[Cell] = [number(dead.requests), number(dead.owners)]
    return [Text(dead.code, "red"), *counts, stamp(dead.last_at), clean(dead.message)]


def _dead(row: Request) -> list[Cell]:
    where: list[Cell] = [short(row.id), clean(row.owner), clean(row.model)]
    return [*where, str(row.attempts), stamp(row.finished_at), Text(row.error_code or "", "red")]


def _allowance(allowance: Allowance) -> list[Cell]:
    daily: list[Cell] = [number(allowance.requests_per_day), size(allowance.bytes_per_day)]
    rest: list[Cell] = [number(allowance.requests_waiting), number(allowance.changes_per_minute)]
    return [clean(allowance.who), *daily, *rest, f"{allowance.weight:g}"]


def _worker(worker: Worker, *, wide: bool) -> list[Cell]:
    version = [clean(worker.version)] if wide else []
    lease = span(worker.lease_seconds) if worker.lease_seconds is not None else ""
    busy, models = f"{worker.running} of {worker.slots}", ", ".join(map(clean, worker.models))
    return [str(worker.id), clean(worker.name), *version, lease, _worker_state(worker), busy, models]


def _whose(allowance: Allowance) -> str:
    if allowance.waiting_now is None:
        return ""
    return ", an allowance of its own" if allowance.own else ", as everybody"


def _limits(allowance: Allowance) -> Pairs:
    limits = {
        "requests a day": (number(allowance.requests_per_day), allowance.requests_today, number),
        "bytes a day": (size(allowance.bytes_per_day), allowance.bytes_today, size),
        "waiting": (number(allowance.requests_waiting), allowance.waiting_now, number),
        "changes a minute": (number(allowance.changes_per_minute), None, number),
    }
    shown: Pairs = [
        (name, limit if used is None else f"{limit}, {form(used)} used")
        for name, (limit, used, form) in limits.items()
    ]
    return [*shown, ("weight", f"{allowance.weight:g}")]
