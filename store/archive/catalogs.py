"""Reads the catalogs of an archive; see ``store.archive.catalog``."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

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

T = TypeVar("T")

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

        async def of(group: int) -> list[int] | None:
            return await self._of_group(group, firsts, digest, sealed)

        covered = await self._each_group(of, firsts)
        return [
            group * self.group + number
            for group, numbers in enumerate(covered)
            for number in numbers or ()
        ], len(covered) * self.group

    async def covered(self, firsts: list[Position], sealed: Sealed) -> int:
        """Return how many of the first segments catalogs cover, by their heads alone.

        See ``segments_of``. A group has its catalog's first and last segment, and as many between.
        """

        async def of(group: int) -> Head | None:
            return await self._head_of(group, firsts, sealed)

        return len(await self._each_group(of, firsts)) * self.group

    async def _each_group(
        self, of: Callable[[int], Awaitable[T | None]], firsts: list[Position]
    ) -> list[T]:
        """Return what ``of`` returns for the first groups, up to one that it has nothing for."""
        if not firsts:
            return []
        if firsts[0].partition not in self._sizes:
            await self.look(firsts[0].partition)
        limit = anyio.CapacityLimiter(READ_AT_ONCE)

        async def limited(group: int) -> T | None:
            async with limit:
                return await of(group)

        found = await for_each(limited, range(len(firsts) // self.group))
        until = next((at for at, each in enumerate(found) if each is None), len(found))
        return [each for each in found[:until] if each is not None]

    async def is_named(self, key: str, wanted: Head) -> bool:
        """Return whether the head of the catalog says that it is of these segments.

        Raises Unavailable.
        """
        try:
            head = catalog.decode_head(await self._read(key, 0, PAGE))
        except (Corrupt, Missing):
            return False
        size = self._sizes[wanted.partition].get(key)
        return size == head.pages * PAGE and _is_of(head, wanted)

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
        return _is_of(head, wanted)

    async def _of_group(
        self, group: int, firsts: list[Position], digest: int, sealed: Sealed
    ) -> list[int] | None:
        """Return the numbers within the group; None if there is no usable catalog of it."""
        key = catalog.key_of(firsts[group * self.group])
        head = await self._head_of(group, firsts, sealed)
        if head is None:
            return None
        try:
            return await self._search(key, digest, head)
        except (Corrupt, Missing):  # the indexes of its segments say the same
            self.forget(key)
            return None

    async def _head_of(self, group: int, firsts: list[Position], sealed: Sealed) -> Head | None:
        """Return the head of the group's catalog; None if there is no catalog of these segments."""
        begin, end = group * self.group, (group + 1) * self.group
        first, last = firsts[begin], firsts[end - 1]
        key = catalog.key_of(first)
        size = self._sizes[first.partition].get(key)
        if size is None:
            return None
        try:
            head = self._heads.get(key) or catalog.decode_head(await self._read(key, 0, PAGE))
            wanted = self._log_id, first.entry_id, last.entry_id, self.group, size
            found = head.log, head.first, head.last, head.segments, head.pages * PAGE
            if found == wanted and await sealed(end - 1) in (head.sha256, None):
                self._heads[key] = head
                return head
        except (Corrupt, Missing):
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


def _is_of(head: Head, wanted: Head) -> bool:
    return head == msgspec.structs.replace(wanted, pages=head.pages)
