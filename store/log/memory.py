"""How much memory the servers of the log use, and how much they may."""

import msgspec
from redis import exceptions

from store.errors import StoreError
from store.log.log import Log
from store.redis.connection import Script, translated


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """In bytes. The server rejects writes above ``max_bytes``; 0 means no limit."""

    used_bytes: int
    max_bytes: int

    @property
    def used_percent(self) -> float:
        """0 if there is no limit."""
        return 100 * self.used_bytes / self.max_bytes if self.max_bytes else 0.0


async def memory(log: Log, partition: int) -> Memory | None:
    """Return the memory of the partition's server; None if it does not report it, or is away."""
    script: Script = log.redis.lua("log/memory")
    try:
        with translated():
            try:
                found = await script(keys=[log.keys.log(partition)])
            except exceptions.ResponseError:  # a managed server may forbid it
                return None
    except StoreError:
        return None
    text = found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)
    said = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    try:
        # Memory not counted is on its way to disk and replicas, and makes no write fail.
        used = int(said["used_memory"]) - int(said.get("mem_not_counted_for_evict", 0))
        return Memory(used_bytes=used, max_bytes=int(said["maxmemory"]))
    except (KeyError, ValueError):
        return None
