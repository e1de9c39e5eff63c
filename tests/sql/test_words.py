"""Words that SQL and Python both spell out: states, tasks, styles. Each set is the same on both sides."""

import re
from typing import get_args

import psycopg
import pytest
from precis import follow, watch

from authsvc import keys
from listener.events import stream
from listener.tasks import request

pytestmark = pytest.mark.sql

Catalogue = psycopg.Connection[tuple[object, ...]]


# The trigger on private.job does what checks of the table would.
GUARD = "select prosrc from pg_proc where oid = 'private.log_job'::regproc"


def job_words(catalogue: Catalogue, pattern: str) -> set[str]:
    """The words of the guard's first list of this form."""
    row = catalogue.execute(GUARD).fetchone()
    found = re.search(pattern, str(row and row[0]))
    assert found is not None
    return set(re.findall(r"'(\w+)'", found[1]))


def words(catalogue: Catalogue, constraint: str) -> set[str]:
    """What the CHECK of this name lets stand."""
    row = catalogue.execute(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = %s", [constraint]
    ).fetchone()
    return set(re.findall(r"'(\w+)'::text", str(row)))


def public_states(catalogue: Catalogue, job_states: set[str]) -> set[str]:
    rows = catalogue.execute("select gate.request_state(unnest(%s::text[]))", [list(job_states)])
    return {str(row[0]) for row in rows}


def test_the_states_of_a_request(catalogue: Catalogue) -> None:
    states = public_states(catalogue, job_words(catalogue, r"not \(n\.state in \(([^)]*)\)"))
    assert states == {"queued", "running", "done", "failed", "cancelled"}
    assert states == set(watch.STYLES)


def test_the_final_states(catalogue: Catalogue) -> None:
    final = job_words(catalogue, r"\(n\.state in \(([^)]*)\)\) = ")
    assert public_states(catalogue, final) == final
    assert final == set(follow.FINAL) == set(stream.FINAL_STATES)


def test_the_tasks(catalogue: Catalogue) -> None:
    assert words(catalogue, "request_task_is_known") == set(get_args(request.Task))


def test_the_styles(catalogue: Catalogue) -> None:
    assert words(catalogue, "request_style_is_known") == set(get_args(request.Style))


def test_the_states_of_a_signing_key(catalogue: Catalogue) -> None:
    assert words(catalogue, "signing_key_state_is_known") == set(get_args(keys.State))
