"""Everything about a database that a migration can change, as text to compare: the dump with owners and
privileges,
and what no dump holds. Leaves out the schema dbmate, which survives a migration down to nothing."""

import subprocess

from tests.fix_postgres import Database

# Privileges left at their default and the same privileges written out are the same thing.
BESIDE_THE_DUMP = {
    "schema": """
        select n.nspname, n.nspowner::regrole, obj_description(n.oid, 'pg_namespace'),
               array(select a::text from unnest(coalesce(n.nspacl, acldefault('n', n.nspowner))) a order by 1)
          from pg_namespace n where n.nspname !~ '^pg_' and n.nspname not in ('information_schema',
          'dbmate')""",
    "database": """
        select d.datdba::regrole, shobj_description(d.oid, 'pg_database'),
               array(select a::text from unnest(coalesce(d.datacl, acldefault('d', d.datdba))) a order by 1)
          from pg_database d where d.datname = current_database()""",
    "default privileges": """
        select d.defaclrole::regrole, d.defaclnamespace::regnamespace, d.defaclobjtype,
               array(select a::text from unnest(d.defaclacl) a order by 1) from pg_default_acl d""",
    "policy": "select p.* from pg_policies p",
    "membership": "select m.roleid::regrole, m.member::regrole, m.admin_option from pg_auth_members m",
    "role setting": """
        select s.setrole::regrole, s.setconfig from pg_db_role_setting s join pg_database d
            on s.setdatabase in (0, d.oid) where d.datname = current_database()""",
    "extension": "select e.extname from pg_extension e",
    "publication": "select p.pubname from pg_publication p",
    "event trigger": "select t.evtname from pg_event_trigger t",
}


def portrait(database: Database) -> str:
    """The text, without what differs from run to run."""
    return "\n".join([*_dump(database), *_beside_the_dump(database)])


def _dump(database: Database) -> list[str]:
    program = str(database.cluster.bin / "pg_dump")
    command = [program, "--schema-only", "--exclude-schema=dbmate", database.url()]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [
        line
        for line in text.splitlines()
        if line and not line.startswith(("--", "\\restrict", "\\unrestrict"))
    ]


def _beside_the_dump(database: Database) -> list[str]:
    with database.connect() as connection:
        return [
            f"{kind}: {row}" for kind, query in BESIDE_THE_DUMP.items()
            for row in sorted(map(str, connection.execute(query).fetchall()))
        ]  # fmt: skip
