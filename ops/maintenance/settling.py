"""Keep or delete the files that a killed process has left unfinished.

A rendition is named by the state of its photo, which one look finds. An original may belong to any
photo, so only originals in doubt make a process read the whole log at its start.
"""

import logging
import re

from ops.maintenance.reconcile import ORIGINALS, Names, is_of_archive, names
from store.blobs.interface import Blobs
from store.log.log import Log

logger = logging.getLogger("photolog.reconcile")

_RENDITION = re.compile(r"renditions/[^/]+/([^/]+)/.+")


async def settle(log: Log, blobs: Blobs) -> None:
    """Keep or delete the files that an earlier process of this name left unfinished.

    Call it before the first draft under that name.
    """
    leftovers = await blobs.leftovers()
    in_doubt = {
        leftover.key
        for leftover in leftovers
        if leftover.key is not None and not is_of_archive(leftover.key)
    }
    originals = {key for key in in_doubt if key.startswith(ORIGINALS)}
    kept = await _settle_originals(log, blobs, originals)
    for key in sorted(in_doubt - originals):
        if not await _is_named(log, key):
            await blobs.delete(key)
    for leftover in leftovers:
        await blobs.clear(leftover)
    if leftovers:
        logger.warning("cleared up %d files that a killed process had left", len(leftovers))
    if kept:
        logger.warning(
            "kept %d originals without an event, because their uploads may have been answered: see "
            "`photolog reconcile`",
            kept,
        )


async def clear(blobs: Blobs) -> None:
    """Remove the drafts that an earlier process of this name left; what became of them stays.

    Call it before the first draft under that name.
    """
    for leftover in await blobs.leftovers():
        await blobs.clear(leftover)


async def _settle_originals(log: Log, blobs: Blobs, in_doubt: set[str]) -> int:
    """Delete the originals that no event names; return how many of them are kept nevertheless."""
    if not in_doubt:
        return 0
    named, kept = await names(log), 0
    for key in sorted(in_doubt):
        if key in named:
            continue
        if await _has_lost(blobs, named, key):
            kept += 1
        else:
            await blobs.delete(key)
    return kept


async def _has_lost(blobs: Blobs, named: Names, key: str) -> bool:
    """Return ``Names.has_lost`` for a stored blob."""
    there = await blobs.keys(key.rpartition("/")[0])
    return any(named.has_lost(blob) for blob in there if blob.key == key)


async def _is_named(log: Log, key: str) -> bool:
    """Return whether a rendition is one of its photo's, superseded ones too."""
    match = _RENDITION.fullmatch(key)
    if match is None:
        return False
    photo = await log.find_photo(match[1])
    if photo is None or photo.erased:
        return False
    return key in photo.keys.values() or key in photo.holding.superseded
