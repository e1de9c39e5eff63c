"""What the database says to the streams: whose events, or whose text so far, are to be read again.

Knows what a notice looks like, and no stream.
"""

from typing import Final
from uuid import UUID

from chassis.database import Pool
from chassis.listen import ListenConnection
from listener.events.hub import Hub
from listener.events.watch import Watches

EVENTS: Final = "precis_event"
PARTIALS: Final = "precis_partial"


def listen(url: str, pool: Pool, hub: Hub, watches: Watches) -> ListenConnection:
    """The connection that marks in the hub who is dirty.

    After each opening, which may be to another server than before, all watches are set anew, and with that
    everybody is read again.
    """

    def hear(payload: str, *, partials: bool) -> None:
        for owner in parse_owners(payload):
            hub.mark(owner, partials=partials)

    return ListenConnection(
        url,
        pool,
        name="precis events notices",
        handlers={
            EVENTS: lambda payload: hear(payload, partials=False),
            PARTIALS: lambda payload: hear(payload, partials=True),
        },
        missed=watches.distrust,
    )


def parse_owners(payload: str) -> set[UUID]:
    """The owners in `owner:...,owner:...`, each once; what is no owner is passed over."""
    owners = set()
    for item in payload.split(","):
        try:
            owners.add(UUID(item.partition(":")[0]))
        except ValueError:
            continue
    return owners
