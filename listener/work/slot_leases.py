"""Which slots this worker should have leased: its share of each model's, on hosts that it reaches.

Leases what is missing and gives back what is too much. Knows no job.
"""

from collections.abc import Callable, Sequence

from listener.model.hosts import Hosts
from listener.queue.connection import KeptConnection
from listener.queue.jobs import Claimant
from listener.queue.slots import SlotKey, give_back_slots, lease_slots
from listener.queue.workers import Share
from listener.work.slots import Slots


class SlotLeases:
    """`see` what each renewal says of the shares; `settle` it with the database."""

    def __init__(
        self, connection: KeptConnection, hosts: Hosts, slots: Slots, *, may_claim: Callable[[], bool]
    ) -> None:
        self._connection = connection
        self._hosts = hosts
        self._slots = slots
        self._may_claim = may_claim
        self._shares: tuple[Share, ...] = ()

    def see(self, shares: tuple[Share, ...]) -> bool:
        """Whether there is something to settle."""
        self._shares = shares
        self._slots.see(shares)
        return any(self._missing(share) or self._surplus(share) for share in shares)

    def lost(self) -> None:
        """Others have our slots."""
        self._slots.leased.clear()
        self._shares = ()

    async def settle(self, claimant: Claimant) -> None:
        """Give back slots that are too many or of no use, lease those that are missing."""
        shares, self._shares = self._shares, ()
        for share in shares:
            await self._settle(claimant, share)
        if unreachable := self._unreachable():
            await self._give_back(claimant, unreachable)
        self._slots.settle()

    async def _settle(self, claimant: Claimant, share: Share) -> None:
        if surplus := self._surplus(share):
            await self._give_back(claimant, self._slots.leased.idle(share.model_id)[:surplus])
        elif missing := self._missing(share):
            hosts = self._hosts.serving(share.model_id)
            leased = await self._connection.run(
                lambda connection: lease_slots(
                    connection, claimant, model_id=share.model_id, hosts=hosts, most=missing
                )
            )
            self._slots.leased.add(leased)

    async def _give_back(self, claimant: Claimant, keys: Sequence[SlotKey]) -> None:
        self._slots.leased.remove(keys)  # first: nothing may begin on them
        await self._connection.run(lambda connection: give_back_slots(connection, claimant, keys))

    def _unreachable(self) -> list[SlotKey]:
        leased = self._slots.leased
        return [
            key
            for model in leased.models()
            for key in leased.idle(model)
            if key.host_id not in self._hosts.serving(model)
        ]

    def _missing(self, share: Share) -> int:
        if not self._may_claim() or not self._hosts.serving(share.model_id):
            return 0
        return max(0, min(share.fair - self._slots.leased.held(share.model_id), share.unleased))

    def _surplus(self, share: Share) -> int:
        due = share.fair if self._may_claim() else 0
        surplus = self._slots.leased.held(share.model_id) - due
        return max(0, min(surplus, len(self._slots.leased.idle(share.model_id))))
