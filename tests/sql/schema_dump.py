"""What `dbmate dump` writes for the migrations as they are. `python -m tests.sql.schema_dump` writes it to
sql/schema.sql."""

import tempfile
from pathlib import Path

from tests.fix_postgres import ROOT, Database, running_cluster

VERSION = "18"  # a dump of another version differs in words
SCHEMA = ROOT / "sql/schema.sql"


def dump(database: Database) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "schema.sql"
        database.cluster.dbmate(database.name, "--schema-file", str(file), "dump")
        return file.read_text(encoding="utf-8")


def main() -> None:
    with running_cluster(VERSION) as cluster:
        database = cluster.create_database("precis")
        cluster.dbmate("precis", "up")
        SCHEMA.write_text(dump(database), encoding="utf-8")


if __name__ == "__main__":
    main()
