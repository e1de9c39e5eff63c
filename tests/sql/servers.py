"""A PostgreSQL of each version for one run of the tests, and the databases on it that tests share."""

import contextlib
from dataclasses import dataclass, field

from tests.fix_postgres import Cluster, Database, running_cluster


@dataclass
class Servers:
    """A cluster of each version, started when it is first asked for and kept: random order asks in turns."""

    stack: contextlib.ExitStack
    clusters: dict[str, Cluster]
    databases: dict[tuple[str, str], Database] = field(default_factory=dict)

    def cluster(self, version: str) -> Cluster:
        if version not in self.clusters:
            running = self.stack.enter_context(running_cluster(version))
            running.create_database("template_precis")
            running.dbmate("template_precis", "up")
            self.clusters[version] = running
        return self.clusters[version]

    def kept(self, version: str, name: str) -> Database:
        """Migrated, not cloned: a clone has not the privileges on the database itself."""
        if (version, name) not in self.databases:
            self.databases[version, name] = self.cluster(version).create_database(name)
            self.cluster(version).dbmate(name, "up")
        return self.databases[version, name]
