"""sql/schema.sql is what the migrations make, so that a reader need not add them up."""

import pytest

from tests.sql.schema_dump import SCHEMA, VERSION, dump
from tests.sql.servers import Servers

pytestmark = pytest.mark.sql


def without_versions(text: str) -> list[str]:
    """Which minor version dumped it is no news."""
    return [line for line in text.splitlines() if not line.startswith("-- Dumped ")]


def test_the_committed_dump_is_fresh(servers: Servers) -> None:
    fresh = without_versions(dump(servers.kept(VERSION, "settled")))
    assert without_versions(SCHEMA.read_text(encoding="utf-8")) == fresh, (
        "run: python -m tests.sql.schema_dump"
    )
