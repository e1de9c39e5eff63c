"""What the tests of the API ask again and again."""

from typing import Any
from uuid import UUID

from tests.fix_postgrest import Rest
from tests.fix_tokens import Person
from tests.sql import acting

ASK = {"task": "summarize", "text": "A text that says something."}
WITH_ROW = {"Prefer": "return=representation"}
NOBODY = "00000000-0000-4000-8000-000000000000"


def ask(api: Rest, person: Person, **columns: Any) -> dict[str, Any]:
    """A new request of that person; its row."""
    answer = api.post("/requests", token=person.token(), json=ASK | columns, headers=WITH_ROW)
    assert answer.status == 202, answer
    (row,) = answer.json
    return dict(row)


def rows_of(api: Rest, person: Person) -> list[dict[str, Any]]:
    return list(api.get("/requests?order=created_at", token=person.token()).json)


def put(api: Rest, request: str, state: str) -> None:
    """Brings a request into a state, as a worker would have."""
    acting.put(api.database, UUID(request), state)
