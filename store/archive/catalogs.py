"""Reads the catalogs of an archive; see ``store.archive.catalog``."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import anyio
import msgspec

from store.archive import catalog
from store.archive.catalog import AROUND, GROUP, PAGE, Head
from store.blobs.interface import Blob
from store.concurrently import for_each
from store.errors import Corrupt, Missing
from store.log.position import Position

READ_AT_ONCE = 16
"""How many catalogs are read at once."""

Sealed = Callable[[int], Awaitable[str | None]]
"""Returns the SHA-256 of a segment, by its number in the partition; None if it is damaged."""


class Readable(Protocol):
    """Blobs that can be read and listed, see ``Blobs``."""

    def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]: ...

    def keys(self, prefix: str) -> Awaitable[list[Blob]]: ...


class Catalogs:
    """The catalogs of the log ``log_id``, of ``group`` segments each."""

    def __init__(self, blobs: Readable, log_id: str, group: int = GROUP) -> None:
        self.group = group
        self._blobs = blobs
        self._log_id = log_id
        self._sizes: dict[int, dict[str, int]] = {}
        self._heads: dict[str, Head] = {}

    async def look(self, partition: int) -> dict[str, int]:
        """List the partition's catalogs again; return the size of each, by key."""
        found = await self._blobs.keys(f"{catalog.FOLDER}/{partition:02d}")
        sizes = {blob.key: blob.size for blob in found if catalog.is_catalog(blob.key)}
        self._sizes[partition] = sizes
        return sizes

    def forget(self, key: str) -> None:
        self._heads.pop(key, None)

    async def segments_of(
        self, firsts: list[Position], digest: int, sealed: Sealed
    ) -> tuple[list[int], int]:
        """Return the numbers of the segments that may have events of the photo, in order, among
        those that catalogs cover; and how many of the first segments they cover.

        ``firsts`` are the positions of the first entries of all segments of a partition, and
        ``sealed`` returns the SHA-256 of one by its number. A catalog that is missing, or damaged,
        or of other segments, covers none.
        """
        if not firsts:
            return [], 0
        if firsts[0].partition not in self._sizes:
            await self.look(firsts[0].partition)
        limit = anyio.CapacityLimiter(READ_AT_ONCE)

        async def of(group: int) -> list[int] | None:
            async with limit:
                return await self._of_group(group, firsts, digest, sealed)

        found = await for_each(of, range(len(firsts) // self.group))
        covered = list(itertools.takewhile(lambda numbers: numbers is not None, found))
        return [
            group * self.group + number
            for group, numbers in enumerate(covered)
            for number in numbers or ()
        ], len(covered) * self.group

    async def is_usable(self, key: str, wanted: Head) -> bool:
        """Return whether the catalog is whole and of these segments; raises Unavailable."""
        try:
            data = await self._read(key, 0, None)
            head = catalog.decode_head(data[:PAGE])
            if len(data) != head.pages * PAGE:
                return False
            for _ in catalog.records(data[PAGE:]):
                pass
        except (Corrupt, Missing):
            return False
        return head == msgspec.structs.replace(wanted, pages=head.pages)

    async def _of_group(
        self, group: int, firsts: list[Position], digest: int, sealed: Sealed
    ) -> list[int] | None:
        """Return the numbers within the group; None if there is no usable catalog of it."""
        begin, end = group * self.group, (group + 1) * self.group
        first, last = firsts[begin], firsts[end - 1]
        key = catalog.key_of(first)
        size = self._sizes[first.partition].get(key)
        if size is None:
            return None
        try:
            head = self._heads.get(key) or catalog.decode_head(await self._read(key, 0, PAGE))
            wanted = self._log_id, first.entry_id, last.entry_id, self.group, size
            if (head.log, head.first, head.last, head.segments, head.pages * PAGE) == wanted:
                found = await self._search(key, digest, head)
                if await sealed(end - 1) in (head.sha256, None):
                    self._heads[key] = head
                    return found
        except (Corrupt, Missing):  # the indexes of its segments say the same
            pass
        self.forget(key)
        return None

    async def _search(self, key: str, digest: int, head: Head) -> list[int]:
        begin, end = catalog.expected(digest, head.pages)
        while True:
            data = await self._read(key, begin * PAGE, (end - begin) * PAGE)
            if len(data) != (end - begin) * PAGE:  # its head may be known from before
                raise Corrupt("it ends too early")
            found = list(catalog.records(data))
            lacks_before = begin > 1 and (not found or found[0][0] >= digest)
            lacks_after = end < head.pages and (not found or found[-1][0] <= digest)
            if not lacks_before and not lacks_after:
                return [at for each, at in found if each == digest and at < head.segments]
            begin = max(1, begin - AROUND) if lacks_before else begin
            end = min(head.pages, end + AROUND) if lacks_after else end

    async def _read(self, key: str, start: int, length: int | None) -> bytes:
        return b"".join([chunk async for chunk in self._blobs.read(key, start, length)])
