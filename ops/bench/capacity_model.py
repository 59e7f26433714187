"""Compute the needs of a system with very many photos from those of one photo.

The model is linear, which is the claim that a run tests: nothing that one photo costs depends on
how many there are. Only the content hashes stay in Redis, and only the read model and its rebuild
grow with the whole library.
"""

import math

import msgspec

from store.log.content_hashes import BUCKETS
from store.log.hash_splitting import MOST

YEAR_S = 365 * 86_400
DAY_S = 86_400

PEAK = 4.0
"""How much more than the mean of the year arrives in the busiest hour."""

BUSY = 0.5
"""How much of a core may be busy, so that a burst does not queue."""

MASTER_BYTES = 32e9
"""The memory of one Redis master: a larger one takes minutes to load, and to copy to a replica."""

REBUILD_S = DAY_S
"""The longest rebuild that an operator would wait for."""

LARGE_CLIENT = 10**6
"""The photos of a large client."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """The measured needs of one photo; sizes in bytes, times in seconds of CPU time.

    ``events`` are those of one photo. ``stream_bytes`` and ``state_bytes`` are in Redis: of its
    events and its cached state. So is its content hash: ``root_bytes`` in the root of a client with
    up to ``MOST`` photos, ``field_bytes`` in a bucket, which itself takes ``bucket_bytes``.
    ``redis_s`` is for one append, ``fold_s`` and ``seal_s`` for one event; ``decode_s`` and
    ``serve_s`` for one photo: its decoders, and everything else from upload to completion.
    """

    events: float
    stream_bytes: float
    state_bytes: float
    root_bytes: float
    bucket_bytes: float
    field_bytes: float
    archive_bytes: float
    model_bytes: float
    redis_s: float
    seal_s: float
    fold_s: float
    decode_s: float
    serve_s: float


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """The needs of a library of ``photos`` that arrive within one year.

    ``uploads`` and ``appends`` are those of a second at the peak. ``redis_all_bytes`` is without an
    archive; ``redis_bytes`` keeps the events and states of a day, and ``hashes_bytes`` are part of
    it, for clients with up to ``MOST`` photos. ``large_hashes_bytes`` would take their place if
    each client had ``LARGE_CLIENT``. ``model_bytes`` and ``rebuild_s`` are those of one host that
    has the whole read model. ``masters`` is how many servers share the partitions, ``groups`` how
    many groups of hosts would have to divide the read model.
    """

    photos: int
    uploads: float
    appends: float
    redis_cores: float
    redis_all_bytes: float
    redis_bytes: float
    hashes_bytes: float
    large_hashes_bytes: float
    masters: int
    archive_bytes: float
    model_bytes: float
    rebuild_s: float
    decoder_cores: float
    other_cores: float
    groups: int


def hashes_bytes(rates: Rates, photos: int, of_client: int) -> float:
    """Return the memory of the content hashes of clients with ``of_client`` photos each."""
    if of_client <= MOST:
        return photos * rates.root_bytes
    return photos * (rates.field_bytes + BUCKETS / of_client * rates.bucket_bytes)


def needs(rates: Rates, photos: int) -> Needs:
    """Return what this many photos need."""
    uploads = photos / YEAR_S * PEAK
    appends = uploads * rates.events
    hashes = hashes_bytes(rates, photos, MOST)
    of_a_day = min(photos, photos / YEAR_S * DAY_S * PEAK)
    redis = hashes + of_a_day * (rates.stream_bytes + rates.state_bytes)
    redis_cores = appends * rates.redis_s
    rebuild_s = photos * rates.events * rates.fold_s
    return Needs(
        photos=photos,
        uploads=uploads,
        appends=appends,
        redis_cores=redis_cores,
        redis_all_bytes=photos * (rates.stream_bytes + rates.state_bytes) + hashes,
        redis_bytes=redis,
        hashes_bytes=hashes,
        large_hashes_bytes=hashes_bytes(rates, photos, LARGE_CLIENT),
        masters=max(1, math.ceil(redis_cores / BUSY), math.ceil(redis / MASTER_BYTES)),
        archive_bytes=photos * rates.archive_bytes,
        model_bytes=photos * rates.model_bytes,
        rebuild_s=rebuild_s,
        decoder_cores=uploads * rates.decode_s,
        other_cores=uploads * rates.serve_s,
        groups=max(1, math.ceil(rebuild_s / REBUILD_S)),
    )


def limit_of(found: Needs) -> str:
    """Return what limits a system of one Redis and whole read models first."""
    if found.groups > 1:
        return "read model"
    if found.masters > 1:
        return "Redis"
    return "decoders" if found.decoder_cores > 1 else "nothing"
