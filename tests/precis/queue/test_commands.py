"""precis.queue.commands: the commands as an operator types them, those of deploy/README.md among them; what
they say, and their exit codes."""

import json
import re
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from precis.command_line import parsed
from precis.faults import BadUsage, RequestFailed
from precis.layout import Layout

from listener.queue import jobs
from tests.fix_postgres import ROOT
from tests.fix_work import Desk, Hand
from tests.precis.queue.test_live_view import on_a_terminal
from tests.test_house import fenced

pytestmark = pytest.mark.services

EMAIL = "ann@example.com"
MODEL = "llama3.1:8b"
GROUPS = ("dead", "pause", "resume", "workers", "quota", "list", "show", "cancel", "retry", "drain", "watch")

Run = Callable[..., Awaitable[tuple[int, str]]]


@dataclass(frozen=True)
class Case:
    """A database with something of everything."""

    desk: Desk
    model: int
    worker: Hand
    person: UUID
    queued: UUID
    failed: UUID


@pytest.fixture
async def case(desk: Desk) -> Case:
    model = await desk.model(MODEL)
    person, worker = desk.person(), await desk.worker(model)
    desk.query("update private.account set email = %s, email_key = %s where id = %s", EMAIL, EMAIL, person)
    failed = desk.ask(person)
    job = await worker.claim_one(model)
    await jobs.fail(worker.connection, job.claim, code="model_failed", message="No use.")
    return Case(desk, model, worker, person, desk.ask(person), failed)


@pytest.fixture
def run(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `precis queue ...` in this process; its exit code and what it printed."""
    layout = Layout(checkout=tmp_path, config=tmp_path / "config.toml", data=tmp_path)
    url = desk.database.url("precis_owner")

    async def run(*arguments: str) -> tuple[int, str]:
        verb, given, _ = parsed(["queue", "--database-url", url, *arguments])
        capsys.readouterr()
        code = await verb(*given.args, **given.kwargs, layout=layout)
        return int(code), capsys.readouterr().out

    return run


async def json_of(run: Run, *arguments: str) -> Any:
    code, output = await run(*arguments, "--json")
    assert code == 0
    return json.loads(output)


def documented() -> list[str]:
    """The commands of the chapter for operators."""
    text = (ROOT / "deploy/README.md").read_text(encoding="utf-8")
    (chapter,) = re.findall(r"^## The queue\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    return list(fenced(chapter))


async def test_every_command_of_the_document_does_what_it_says(case: Case, run: Run) -> None:
    seen = set()
    for line in documented():
        program, verb, *arguments = shlex.split(line, comments=True)
        assert (program, verb) == (".venv/bin/precis", "queue")
        command = arguments[0] if arguments else "list"
        seen.add(command)
        is_many = command in ("cancel", "retry") and {"--dead", "--state"} & set(arguments)
        if command == "watch" or (is_many and "--yes" not in arguments):
            continue  # these ask for a terminal: see below
        if command == "retry":
            case.desk.query("update private.job set state = 'failed', error_code = 'model_failed',"
                            " finished_at = now() where request_id = %s", case.failed)  # fmt: skip
        real = {"5a50a9e9": case.failed, "1d79ba25": case.queued, "3": case.worker.claimant.worker_id}
        code, output = await run(*(str(real.get(argument, argument)) for argument in arguments))
        assert (code, bool(output)) == (0, True), line
        assert "✗" not in output, line
    assert seen == set(GROUPS)


async def test_a_list_without_a_command_is_for_people_and_for_scripts(case: Case, run: Run) -> None:
    code, output = await run()
    assert code == 0
    assert [line.split()[0] for line in output.splitlines()] == [
        "id",
        case.queued.hex[:8],
        case.failed.hex[:8],
    ]
    rows = await json_of(run)
    assert [(row["id"], row["state"]) for row in rows] == [
        (str(case.queued), "queued"), (str(case.failed), "failed"),
    ]  # fmt: skip


async def test_a_row_is_shown_with_its_history(case: Case, run: Run) -> None:
    code, output = await run("show", case.failed.hex[:8])
    assert code == 0
    assert all(text in output for text in (str(case.failed), EMAIL, MODEL, "failed, model_failed", "No use."))
    shown = await json_of(run, "show", case.failed.hex[:8])
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["failed"]
    assert {"text", "result", "body"}.isdisjoint(shown)


async def test_each_order_has_its_answer_and_one_refusal_is_an_error(case: Case, run: Run) -> None:
    code, output = await run("cancel", case.queued.hex[:8], case.failed.hex[:8])
    assert code == 1
    assert output == (
        f"✓ {case.queued.hex[:8]} cancelled\n"
        f"✗ {case.failed.hex[:8]}: This request has ended already.  [already_finished]\n"
    )
    code, output = await run("retry", case.failed.hex[:8], "--json")
    assert (code, json.loads(output)) == (0, [{"id": str(case.failed), "code": None, "message": None}])
    assert case.desk.job(case.failed)["state"] == "ready"


async def test_dead_letters_are_told_and_queued_again(case: Case, run: Run) -> None:
    told = await json_of(run, "dead", "--since", "1h")
    assert [(dead["code"], dead["requests"]) for dead in told["codes"]] == [("model_failed", 1)]
    assert [row["id"] for row in told["requests"]] == [str(case.failed)]
    assert await json_of(run, "retry", "--dead", "--code", "other", "--yes") == {"dead": 0, "queued": 0}
    assert await json_of(run, "retry", "--dead", "--yes") == {"dead": 1, "queued": 1}
    assert case.desk.job(case.failed)["state"] == "ready"
    assert await run("retry", "--dead", "--yes") == (0, "✓ No dead letters.\n")


async def test_without_a_terminal_nobody_can_agree_to_a_redrive(case: Case, run: Run) -> None:
    with pytest.raises(BadUsage, match="Say --yes") as caught:
        await run("retry", "--dead")
    assert caught.value.code == "confirmation_needed"
    assert case.desk.job(case.failed)["state"] == "failed"


@pytest.mark.parametrize(("answer", "exit_code", "state"), [(b"n\n", 1, "failed"), (b"y\n", 0, "ready")])
async def test_on_a_terminal_a_person_is_asked(case: Case, answer: bytes, exit_code: int, state: str) -> None:
    url = case.desk.database.url("precis_owner")
    with on_a_terminal("queue", "retry", "--dead", url=url) as screen:
        screen.until(b"Queue 1 failed requests again?")
        screen.type(answer)
        assert screen.process.wait(timeout=20) == exit_code
    assert case.desk.job(case.failed)["state"] == state


async def test_all_in_one_state_are_cancelled_and_counted(case: Case, run: Run) -> None:
    case.desk.ask_many(case.person, 2)
    other = case.desk.ask(case.desk.person())
    of_ann = ("cancel", "--state", "queued", "--owner", EMAIL, "--yes")
    assert await json_of(run, *of_ann) == {"found": 3, "cancelled": 3}
    assert await run(*of_ann) == (0, "✓ No request is like that.\n")
    assert (case.desk.job(case.failed)["state"], case.desk.job(other)["state"]) == ("failed", "ready")
    assert await run("cancel", "--state", "queued", "--yes") == (0, "✓ 1 cancelled.\n")
    assert case.desk.job(other)["state"] == "cancelled"


async def test_without_a_terminal_nobody_can_agree_to_a_mass_cancel(case: Case, run: Run) -> None:
    with pytest.raises(BadUsage, match=r"This cancels 1 queued requests\. Say --yes") as caught:
        await run("cancel", "--state", "queued")
    assert caught.value.code == "confirmation_needed"
    assert case.desk.job(case.queued)["state"] == "ready"


@pytest.mark.parametrize(("answer", "exit_code", "state"), [(b"n\n", 1, "ready"), (b"y\n", 0, "cancelled")])
async def test_a_person_is_told_how_many_before_they_are_cancelled(
    case: Case, answer: bytes, exit_code: int, state: str
) -> None:
    url = case.desk.database.url("precis_owner")
    with on_a_terminal("queue", "cancel", "--state", "queued", url=url) as screen:
        screen.until(b"Cancel 1 queued requests?")
        screen.type(answer)
        assert screen.process.wait(timeout=20) == exit_code
    assert case.desk.job(case.queued)["state"] == state


@pytest.mark.parametrize("arguments", [
    ["retry"], ["retry", "1a2b", "--dead"], ["retry", "1a2b", "--code", "x"], ["quota", "--reset"],
    ["cancel"], ["cancel", "1a2b", "--state", "queued"], ["cancel", "1a2b", "--owner", EMAIL],
    ["cancel", "--owner", EMAIL],
    ["quota", EMAIL, "--reset", "--weight", "1"], ["watch"],
])  # fmt: skip
async def test_what_cannot_be_meant_is_a_wrong_call(desk: Desk, run: Run, arguments: list[str]) -> None:
    with pytest.raises(BadUsage) as caught:
        await run(*arguments)
    assert caught.value.exit_code == 2


async def test_a_pause_is_told_wherever_the_queue_is_listed(case: Case, run: Run) -> None:
    assert (await run("pause", MODEL))[1].splitlines()[0] == f"Paused: {MODEL}."
    assert (await run("list", "--state", "queued"))[1].startswith(f"Paused: {MODEL}.")
    assert (await json_of(run, "pause"))["everything"] is not None
    assert (await run("resume"))[1].splitlines()[0] == f"Paused: {MODEL}."
    assert await run("resume", MODEL) == (0, "Nothing is paused.\n")


async def test_workers_are_listed_and_drained(case: Case, run: Run) -> None:
    (worker,) = await json_of(run, "workers")
    number = str(worker["id"])
    assert await run("drain", number) == (0, f"✓ Worker {number} claims nothing more; what it runs ends.\n")
    assert "draining" in (await run("workers"))[1]
    assert await json_of(run, "drain", "--off", "test") == {"worker": worker["id"], "draining": False}


async def test_a_quota_is_set_shown_and_taken_away(case: Case, run: Run) -> None:
    told = await json_of(run, "quota", EMAIL, "--bytes-per-day", "2m", "--waiting", "none", "--weight", "3")
    assert (told["bytes_per_day"], told["requests_waiting"], told["weight"]) == (2 << 20, None, 3.0)
    assert [own["who"] for own in (await json_of(run, "quota"))["own_allowances"]] == [EMAIL]
    assert (await json_of(run, "quota", EMAIL, "--reset"))["own"] is False
    with pytest.raises(RequestFailed, match="Nobody is registered"):
        await run("quota", "nobody@example.com")
