"""The bounds of a worker and their defaults."""

import msgspec


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one worker; times in seconds. ``client_concurrency`` bounds the tasks of one client
    among those of ``concurrency``; None sets no such bound."""

    concurrency: int = 3
    client_concurrency: int | None = None
    stalled_after_s: float = 30.0
    max_stalls: int = 1
    stage_timeout_s: float = 60.0
    superseded_grace_s: float = 3600.0
    drain_s: float = 20.0
    patience_s: float = 3600.0
