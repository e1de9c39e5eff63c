"""How long each text of a request may be: all of them have a limit, with a code of its own."""

import pytest

from tests.fix_postgres import Database
from tests.sql.acting import acting, ask, counted, refused, sign_up, some_model

pytestmark = pytest.mark.sql

LONG = {
    "title": ("x" * 301, "title_too_long"),
    "language": ("en" + "-abcdefgh" * 4, "language_too_long"),
    "style": ("x" * 1000, "unknown_style"),
    "task": ("x" * 1000, "unknown_task"),
    "model": ("x" * 201, "model_too_long"),
    "url": ("https://example.com/" + "x" * 2048, "url_too_long"),
    "text": ("x" * 1048577, "text_too_large"),
}


@pytest.mark.parametrize("column", LONG)
def test_every_text_column_has_its_limit_and_what_is_refused_counts_nothing(
    column: str, common: Database
) -> None:
    value, code = LONG[column]
    some_model(common)
    owner = sign_up(common)
    with acting(common, owner) as person, refused(code):
        ask(person, **{column: value})
    assert counted(common, owner) == (0, 0, 0)


def test_every_text_column_is_in_the_list_of_limits(common: Database) -> None:
    with common.connect() as connection:
        rows = connection.execute(
            "select attname from pg_attribute where attrelid = 'private.request'::regclass"
            " and atttypid = 'text'::regtype"
        ).fetchall()
    assert {str(name) for (name,) in rows} == {*LONG, "idempotency_key"}
