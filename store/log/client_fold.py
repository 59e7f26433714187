"""Folds the content hashes and the usage of one client from the events of its partition."""

from domain.clients.usage import NOTHING, Usage
from domain.photo import events as e
from domain.photo import holdings
from domain.photo.holdings import Holding
from store.log.recorded import Recorded

MOST = 10**18 - 1
"""The most bytes, photos or jobs that are counted for one client."""


class ClientFold:
    """The clients of a partition, and what one of them has.

    ``claimed`` has the photo id of each content hash, ``changed`` those of its hashes that events
    have changed since it was emptied. The holding of each of the client's photos is kept in memory:
    one or two kilobytes per photo.
    """

    def __init__(self, client_id: str) -> None:
        self.clients = {client_id}
        self.claimed: dict[str, str] = {}
        self.changed: set[str] = set()
        self._usage = NOTHING
        self._client_id = client_id
        self._sha256: dict[str, str] = {}
        self._holdings: dict[str, Holding] = {}

    @property
    def usage(self) -> Usage:
        """What the client uses, as far as it is counted."""
        used = self._usage
        return Usage(
            photos=min(used.photos, MOST), bytes=min(used.bytes, MOST), jobs=min(used.jobs, MOST)
        )

    def apply(self, recorded: Recorded) -> None:
        data, owner = recorded.event.data, recorded.event.metadata.client_id
        if isinstance(data, e.PhotoUploaded):
            self.clients.add(owner)
        if owner != self._client_id or not isinstance(data, e.Data):
            return
        if isinstance(data, e.PhotoUploaded):
            self._sha256[data.photo_id] = data.sha256
            self.claimed.setdefault(data.sha256, data.photo_id)
            self.changed.add(data.sha256)
        elif isinstance(data, e.PhotoDeleted):
            sha256 = self._sha256.pop(data.photo_id, "")
            if self.claimed.get(sha256) == data.photo_id:
                del self.claimed[sha256]
                self.changed.add(sha256)
        self._count(data)

    def _count(self, data: e.Data) -> None:
        before = self._holdings.pop(data.photo_id, None)
        after = holdings.fold(before, data)
        if after is None:
            return
        self._usage += after.usage - (before.usage if before else NOTHING)
        if not after.erased:
            self._holdings[data.photo_id] = after
