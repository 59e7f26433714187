"""The bounds of the archive."""

import msgspec


class SealingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a range is sealed: once it is full, or once its first entry is old enough.

    ``archive_settle_s`` is the age that any entry must have: a failover can lose younger ones.
    ``archive_every_s`` is how often the archiver looks.
    """

    archive_after_s: float = 86_400.0
    archive_settle_s: float = 60.0
    archive_every_s: float = 10.0
    archive_segment_entries: int = 4_096
    archive_segment_bytes: int = 8 << 20


class TrimmingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What stays in the stream; without any of the first two, everything.

    ``archive_keep_s`` is the age at which archived entries leave it, and ``archive_keep_bytes`` the
    memory of each partition's stream above which the oldest of them do. ``archive_keep_states_s``
    is the age of the last event of a photo or upload session at which its cached state is removed,
    once that event has left the stream and it is at rest; without it, states stay.
    """

    archive_keep_s: float | None = None
    archive_keep_bytes: int | None = None
    archive_keep_states_s: float | None = None
