"""What ten clients at once may make PostgREST and Postgres hold, measured on the real processes."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.fix_postgrest import Answer, Rest
from tests.fix_tokens import Person
from tests.postgrest.asking import ASK, WITH_ROW, ask

pytestmark = pytest.mark.services

AT_ONCE = 10
MOST_MIB = 128  # above idle, for each request
LETTERS = "words of a text " * 2**16  # 1 MiB

Question = Callable[[Rest, Person, str], Answer]


def mib(pid: int, name: str) -> int:
    """VmRSS, or VmHWM: the highest it was."""
    (found,) = re.findall(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found) // 1024


def backends(rest: Rest) -> list[int]:
    return [pid for (pid,) in rest.query("select pid from pg_stat_activity where usename = 'authenticator'")]


def reading(columns: str, **headers: str) -> Question:
    def ask_for(rest: Rest, person: Person, request: str) -> Answer:
        path = f"/requests?id=eq.{request}&select={columns}"
        return rest.get(path, token=person.token(), headers=headers)

    return ask_for


def patching(rest: Rest, person: Person, request: str) -> Answer:
    path = f"/requests?id=eq.{request}&select={aliases(90)}"
    return rest.patch(path, token=person.token(), json={"title": "T"}, headers=WITH_ROW)


def inserting(rest: Rest, person: Person, _: str) -> Answer:
    return rest.post("/requests", token=person.token(), json=[ASK | {"text": LETTERS}] * 6)


def listing(rest: Rest, person: Person, _: str) -> Answer:
    return rest.get("/requests?order=text", token=person.token())


def aliases(count: int, column: str = "text") -> str:
    return ",".join(f"c{i}:{column}" for i in range(count))


QUESTIONS: dict[str, Question] = {
    "the row": reading("*"),
    "its text six times": reading(aliases(6)),
    "its text six times, as CSV": reading(aliases(6), Accept="text/csv"),
    "its text ninety times": reading(aliases(90)),
    "its text three hundred times": reading(aliases(300)),
    "its text as numbers": reading(aliases(90, "text::numeric")),
    "a changed row ninety times": patching,
    "six long texts in one body": inserting,
    "all of them in order": listing,
}


def test_ten_at_once_stay_within_bounds(rest: Rest) -> None:
    people = [rest.tokens.person() for _ in range(AT_ONCE)]
    requests = [ask(rest, person, text=LETTERS)["id"] for person in people]
    server = rest.process.process
    assert server is not None
    idle = mib(server.pid, "VmRSS")
    for name, question in QUESTIONS.items():
        before = {pid: mib(pid, "VmRSS") for pid in backends(rest)}
        for pid in before:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM begins anew
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(partial(question, rest), people, requests))
        grown = {pid: mib(pid, "VmHWM") - before.get(pid, 0) for pid in backends(rest)}
        assert max(grown.values()) < MOST_MIB, (name, grown)
        assert (mib(server.pid, "VmHWM") - idle) / AT_ONCE < MOST_MIB / 2, name
