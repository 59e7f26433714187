"""Settings of the archive; see ``ops.config.settings``."""

from typing import Annotated

from msgspec import Meta

from ops.config.bounds import Count, Positive, Seconds
from ops.config.log_settings import LogSettings
from store.archive.settings import SealingSettings

_SEALING = SealingSettings()


class ArchiveSettings(LogSettings, frozen=True, kw_only=True):
    """When events are sealed into segments, and what stays in the stream."""

    archive_after_s: Annotated[
        Positive,
        Meta(description="Age at which events are archived, even if they do not fill a segment."),
    ] = _SEALING.archive_after_s
    archive_settle_s: Annotated[
        Positive,
        Meta(description="Age that events must have to be archived: a failover may lose them."),
    ] = _SEALING.archive_settle_s
    archive_every_s: Annotated[
        Seconds, Meta(description="How often the archiver looks for events to archive.")
    ] = _SEALING.archive_every_s
    archive_segment_entries: Annotated[
        Count, Meta(description="Maximum number of events in a segment of the archive.", le=65_536)
    ] = _SEALING.archive_segment_entries
    archive_segment_bytes: Annotated[
        Count,
        Meta(
            description="Maximum size of the events of a segment, before they are compressed.",
            le=64 << 20,
        ),
    ] = _SEALING.archive_segment_bytes
    archive_keep_s: Annotated[
        Positive | None,
        Meta(
            description="Age at which archived events leave Redis; unset: they stay, unless "
            "archive_keep_bytes is set."
        ),
    ] = None
    archive_keep_bytes: Annotated[
        Count | None,
        Meta(
            description="Memory of the stream of a partition above which its oldest archived "
            "events leave Redis; unset: they stay, unless archive_keep_s is set."
        ),
    ] = None
    archive_keep_states_s: Annotated[
        Positive | None,
        Meta(
            description="Age of the last event of a photo or upload session at which its state "
            "leaves Redis, once that event has left and it is at rest: a command then reads the "
            "archive; unset: states stay. Needs archive_keep_s or archive_keep_bytes."
        ),
    ] = None
