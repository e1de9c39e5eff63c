"""Which history of the database an event number belongs to, and whether a client can resume from one.

Knows no connection: an SQL expression, and decisions about numbers.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, LiteralString

REPLAY_MAX_EVENTS = 5_000  # somebody further behind re-reads the rows sooner than the events

# A restored copy has another identifier of the cluster or the database, or another table; a failover, which
# may have lost commits, begins a timeline. After a promotion pg_control_checkpoint() lags, the name of the
# file being written does not. A crash, which may have lost commits that did not wait for the disk, empties
# the unlogged table: then this is null, and no number may be told until somebody begins anew. In recovery it
# raises: nothing may be served there either.
INCARNATION: Final[LiteralString] = """
  (select substr(encode(sha256(convert_to(concat_ws('.',
     (select system_identifier from pg_control_system()),
     left(pg_walfile_name(pg_current_wal_lsn()), 8),
     (select oid from pg_database where datname = current_database()),
     i.tableoid, i.nonce), 'UTF8')), 'hex'), 1, 12)
   from private.event_incarnation i)
"""
# Of several who find none and try, one begins, and the others wait for it: whether it was us.
BEGIN_INCARNATION: Final = "select private.begin_incarnation()"

Loss = Literal["foreign", "ahead", "too_old", "too_far_behind"]


@dataclass(frozen=True, slots=True)
class Head:
    """How far an account's log goes: its last number, and the last one that has been pruned."""

    incarnation: str
    n: int
    min_n: int


@dataclass(frozen=True, slots=True)
class Position:
    """The last event a client has seen. Written `<incarnation>.<n>`, the form of every event id."""

    incarnation: str
    n: int

    def __str__(self) -> str:
        return f"{self.incarnation}.{self.n}"


def parse(event_id: str) -> Position:
    """The position that a client names; what we have never written becomes one that no log knows."""
    match = re.fullmatch(r"([0-9a-f]{12})\.([0-9]{1,18})", event_id, re.ASCII)
    return Position(match[1], int(match[2])) if match else Position("", 0)


def loss(position: Position, head: Head) -> Loss | None:
    """Why events after `position` cannot be given completely, None if they can."""
    if position.incarnation != head.incarnation:
        return "foreign"
    if position.n > head.n:
        return "ahead"
    if position.n < head.min_n:
        return "too_old"
    if head.n - position.n > REPLAY_MAX_EVENTS:
        return "too_far_behind"
    return None
