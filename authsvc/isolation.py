"""Whether the database keeps clients away from what only authsvc may see; without that nothing here is safe.

Knows roles and privileges, and no data.
"""

from authsvc.database import Connection
from authsvc.tokens import ROLE
from chassis.errors import StartError

CLIENT_ROLES = ["pgrest_anon", ROLE, "authenticator"]

FAULTS = """
select r.rolname || ' ' || f.fault
  from pg_roles r
 cross join lateral (values
   (r.rolsuper, 'is a superuser'),
   (r.rolbypassrls, 'passes by row security'),
   (r.rolname <> current_user and has_schema_privilege(r.oid, 'private', 'usage'), 'can enter schema private')
 ) f(holds, fault)
 where f.holds and (r.rolname = any ($1::text[]) or r.rolname = current_user)
 order by 1
"""


async def is_sound(connection: Connection) -> bool:
    return not await find_faults(connection)


async def find_faults(connection: Connection) -> list[str]:
    """What is wrong, one sentence each. A role that cannot enter the schema reaches no table in it."""
    return [row[0] for row in await connection.fetch(FAULTS, CLIENT_ROLES)]


async def require_sound(connection: Connection) -> None:
    """Raises StartError."""
    if faults := await find_faults(connection):
        found = "; ".join(faults)
        raise StartError(f"The database is not safe to serve: {found}. Run sql/roles.sql and the migrations.")
