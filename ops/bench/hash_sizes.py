"""Measure the memory of content hashes in Redis, in each form that they have there."""

import secrets
import uuid

import msgspec

from ops.bench.cloned_log import TOGETHER, record_hash, used_bytes
from store.concurrently import for_each
from store.log.content_hashes import BUCKETS
from store.log.hash_splitting import MOST, HashSplitter
from store.log.log import Log
from store.redis.connection import connect

SMALL, LARGE = 20_000, 100_000
"""The photos of two clients, each with all buckets."""

ROOTS = 5
"""Clients whose content hashes stay in the root."""


class HashSizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a content hash in the root and in a bucket, and of the bucket itself."""

    root: float
    field: float
    bucket: float


async def hash_sizes(url: str) -> HashSizes:
    """Record content hashes on an empty server; an archiver then splits those of large clients."""
    redis = connect(url)
    log = await Log.open(redis)
    await _add(log, MOST)  # the first one also opens connections, and loads scripts
    root = sum([await _add(log, MOST) for _ in range(ROOTS)])
    small = await _add(log, SMALL)
    large = await _add(log, LARGE)
    await redis.aclose()
    field = (large - small) / (LARGE - SMALL)
    bucket = (small - SMALL * field) / BUCKETS
    return HashSizes(root=root / (ROOTS * MOST), field=field, bucket=bucket)


async def _add(log: Log, count: int) -> int:
    """Return the bytes that the content hashes of a new client take."""
    before = await used_bytes(log)
    client_id = uuid.uuid4().hex

    async def record(_: int) -> None:
        await record_hash(log, client_id, str(uuid.uuid4()), secrets.token_hex(32))

    for _ in range(0, count, TOGETHER):
        await for_each(record, range(TOGETHER))
    splitter = HashSplitter(log)
    while await splitter.split(0):
        pass
    return await used_bytes(log) - before
