"""Words that SQL and Python both spell out: states, tasks, styles. Each set is the same on both sides."""

import re
from datetime import UTC, datetime
from typing import get_args

import psycopg
import pytest
from precis.client import arguments, follower, progress

from authsvc.keys import ring
from listener.events import reader, stream
from listener.queue import jobs
from listener.tasks import request

pytestmark = pytest.mark.sql

Catalogue = psycopg.Connection[tuple[object, ...]]


# What checks of private.job would say of a state, a worker and an end; and what it spells out.
IS_SOUND = "select private.job_is_sound(%s, %s, %s, 'some_error', 'root', 0::smallint, 0::smallint, 0)"
SPELT_OUT = "select pg_get_function_sqlbody('private.job_is_sound'::regproc)"


def job_states(catalogue: Catalogue, *, worker: int | None, ended: bool) -> set[str]:
    """The states in which a job may have this worker and this end."""
    spelt_out = set(re.findall(r"'(\w+)'::text", str(catalogue.execute(SPELT_OUT).fetchone())))
    end = datetime.now(UTC) if ended else None
    return {
        word for word in spelt_out if catalogue.execute(IS_SOUND, [word, worker, end]).fetchone() == (True,)
    }


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
    open_, running, final = (
        job_states(catalogue, worker=worker, ended=ended)
        for worker, ended in ((None, False), (1, False), (None, True))
    )
    assert running == {"running"}
    states = public_states(catalogue, open_ | running | final)
    assert states == {"queued", "running", "done", "failed", "cancelled"}
    assert states == set(progress.STYLES)


def test_the_final_states(catalogue: Catalogue) -> None:
    final = job_states(catalogue, worker=None, ended=True)
    assert public_states(catalogue, final) == final
    assert final == set(follower.FINAL) == set(stream.FINAL_STATES)


def test_the_tasks(catalogue: Catalogue) -> None:
    known = words(catalogue, "request_task_is_known")
    assert known == set(get_args(request.Task)) == set(get_args(arguments.Task))


def test_the_styles(catalogue: Catalogue) -> None:
    known = words(catalogue, "request_style_is_known")
    assert known == set(get_args(request.Style)) == set(get_args(arguments.Style))


def test_the_states_of_a_signing_key(catalogue: Catalogue) -> None:
    assert words(catalogue, "signing_key_state_is_known") == set(get_args(ring.State))


def test_the_columns_of_an_events_row(catalogue: Catalogue) -> None:
    """All that clients see of a request, but for its text: that does not change, and may be long."""
    rows = catalogue.execute(
        "select attname::text from pg_attribute where attrelid = 'public.requests'::regclass and attnum > 0"
    ).fetchall()
    assert set(re.findall(r"\bq\.(\w+)", reader.READ_EVENTS)) == {str(row[0]) for row in rows} - {"text"}


def test_the_claim_floor_keeps_eight_steps_of_a_models_clock(catalogue: Catalogue) -> None:
    (step,) = catalogue.execute(
        "select column_default from information_schema.columns"
        " where table_schema = 'private' and table_name = 'model' and column_name = 'step'"
    ).fetchone() or (None,)
    assert 8 * int(str(step)) == jobs.FLOOR_MARGIN
