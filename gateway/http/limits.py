"""Define the gateway's bounds. Each has a setting of its name and a clear answer at the bound."""

import msgspec

from domain.clients.quotas import JOB_BYTES, Quota


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds, sizes in bytes.

    | bound | answer at the bound |
    |---|---|
    | ``max_upload_bytes`` | 413 ``upload-too-large`` |
    | ``max_fields``, ``max_field_bytes`` | 400 ``too-many-fields``, ``field-too-large`` |
    | ``max_json_bytes`` | 413 ``body-too-large`` |
    | ``body_patience_s``: the longest duration of a body other than an upload's | 408 \
      ``body-stalled`` |
    | ``uploads_at_once``, a client 3/4 of it | 503 ``busy`` after ``upload_patience_s`` |
    | ``upload_patience_s``: the longest wait for the next bytes | 408 ``upload-stalled`` |
    | ``slow_upload_s``: the longest duration of an upload | 408 ``upload-stalled`` |
    | ``open_uploads``: unfinished resumable ones of a client | 429 ``too-many-open-uploads`` |
    | ``upload_expires_s``: how long a resumable upload can take | 410 ``upload-gone`` |
    | ``open_upload_sessions`` of a client | 429 ``too-many-open-sessions`` |
    | ``upload_session_idle_s`` without an upload, 0: unlimited | the session expires |
    | ``header_patience_s``: the longest wait for a request's head | the connection is closed |
    | ``max_header_bytes``, ``max_headers`` of a request | 431 ``headers-too-large`` |
    | ``connections`` at once, including WebSockets and streams | 503 ``too-many-connections`` |
    | ``rate_subjects_kept`` in memory, for each rate limit | others are read from Redis again |
    | ``connections_reserved`` of them for health, metrics and staff | 503 for others |
    | ``connections_per_address`` | 429 ``too-many-connections-from-address`` |
    | ``connections_per_client``, including requests | 429 ``too-many-connections-of-client`` |
    | ``keep_alive_s``: the longest pause between two requests | the connection is closed |
    | ``drain_s``: how long requests may continue at shutdown | they are cut off |
    | ``slow_reader_s``: how long a reader may read nothing | the connection is closed |
    | ``linger_s``: how long the rest of a rejected body is read | the connection is closed |
    | ``after_timeout_s``: the longest wait for a position | 503 ``read-model-behind`` |
    | ``append_patience_s``: how long Redis may be unavailable | 503 ``log-unavailable`` |
    | ``log_full_percent`` of the memory limit of the log's Redis | 507 ``log-full`` |
    | ``page_limit_max`` | 400 ``invalid-limit`` |
    | ``archive_photos`` of one archive | 413 ``archive-too-large`` |
    | ``archive_bytes`` of one archive | 413 ``archive-too-large`` |
    | ``cancel_at_once``: tasks cancelled by one request | the rest is returned as ``remaining`` |
    | ``filename_max``: bytes of UTF-8 | the name is cut before its extension |
    | ``room_backlog``: events queued for a slow reader of rooms | it rereads the history |
    | ``rooms_per_socket`` | error ``too-many-rooms`` |
    | ``message_max_bytes`` of a WebSocket | close 1009 |
    | ``errors_per_socket`` | close 1008 ``too-many-errors`` |
    | ``frames_per_minute`` of a WebSocket other than messages | close 1008 ``too-many-frames`` |
    | ``sessions_per_client``: signed-in browsers | the oldest is signed out |
    | ``tickets_per_client``: unused sign-in links | the oldest becomes invalid |
    | ``stream_tickets_per_client``: unused tickets of streams | the oldest becomes invalid |
    | ``webhooks_per_client`` | 409 ``too-many-webhooks`` |
    | ``webhook_secret_overlap_s``: how long a replaced secret signs | it signs no more |
    | ``degraded_webhooks_s``: how far one of the system may be behind | health ``degraded`` above |
    | ``ticket_ttl_s``: how long a sign-in link is valid | 401 ``invalid-ticket`` |
    | ``check_timeout_s``: the longest duration of a health check | the check reports ``down`` |
    | ``min_free_bytes``: free space on the disk of the blobs | health ``degraded`` below |
    | ``degraded_lag_s``: how far the read model may be behind | health ``degraded`` above |
    | ``degraded_clock_s``: how far the log's clock may be off | health ``degraded`` above |
    | ``degraded_memory_percent`` of this machine's memory in use | health ``degraded`` above |
    | ``degraded_load``: load average per processor | health ``degraded`` above |
    | ``stalled_after_s``: the longest silence of a worker | it counts as dead |
    | ``integrity_timeout_s``: the longest check of the read model's file | ``unknown`` |
    | ``integrity_percent`` of the time for these checks | the last result is used |
    | ``quota_photos`` of a client, 0: unlimited | 507 ``quota-photos`` |
    | ``quota_bytes`` of a client, 0: unlimited | 507 ``quota-bytes`` |
    | ``quota_job_bytes`` of these, reserved by each job until it ends | 507 ``quota-bytes`` |
    | ``quota_jobs`` in progress of a client, 0: unlimited | 429 ``quota-jobs`` |
    | ``quota_uploads`` open at this gateway of a client, 0: unlimited | 429 ``quota-uploads`` |
    | ``quota_idempotency_keys`` in 24 hours, 0: unlimited | 429 ``quota-idempotency-keys`` |
    | ``security_lines`` a minute for each kind and source | one more line counts the others |
    | ``security_sources`` distinguished in a minute | all others count as one |

    ``trusted_proxies`` are comma-separated addresses or networks whose ``X-Forwarded-For`` and
    ``X-Forwarded-Proto`` headers are trusted; see ``gateway.http.peer``.

    ``cors_origins`` are comma-separated origins of other pages that may use the gateway; see
    ``gateway.http.cors``.

    ``webhook_private_addresses`` are those that webhooks may reach besides public ones; see
    ``gateway.webhooks.settings``.

    ``probe_keep_s`` and ``integrity_keep_s`` are how long health reuses its last check of the blobs
    and of the read model's file and damaged files. ``upload_keys_remembered`` is the number of
    idempotency keys that ``gateway.state.upload_keys`` keeps.
    """

    trusted_proxies: str = ""
    cors_origins: str = ""
    max_upload_bytes: int = 100_000_000
    max_fields: int = 16
    max_field_bytes: int = 64 * 1024
    max_json_bytes: int = 64 * 1024
    body_patience_s: float = 30.0
    uploads_at_once: int = 64
    upload_patience_s: float = 10.0
    slow_upload_s: float = 1800.0
    open_uploads: int = 100
    upload_expires_s: float = 86_400.0
    open_upload_sessions: int = 1_000
    upload_session_idle_s: float = 86_400.0
    header_patience_s: float = 10.0
    max_header_bytes: int = 64 * 1024
    max_headers: int = 100
    connections: int = 4_000
    rate_subjects_kept: int = 10_000
    connections_reserved: int = 64
    connections_per_address: int = 1_000
    connections_per_client: int = 400
    keep_alive_s: int = 30
    drain_s: int = 10
    slow_reader_s: float = 30.0
    linger_s: float = 5.0
    after_timeout_s: float = 5.0
    append_patience_s: float = 10.0
    log_full_percent: float = 90.0
    page_limit_max: int = 200
    archive_photos: int = 500
    archive_bytes: int = 4_000_000_000
    cancel_at_once: int = 1_000
    filename_max: int = 255
    room_backlog: int = 1_000
    rooms_per_socket: int = 100
    message_max_bytes: int = 64 * 1024
    errors_per_socket: int = 10
    frames_per_minute: int = 1_200
    sessions_per_client: int = 50
    tickets_per_client: int = 10
    stream_tickets_per_client: int = 100
    ticket_ttl_s: float = 600.0
    webhooks_per_client: int = 5
    webhook_secret_overlap_s: float = 86_400.0
    webhook_private_addresses: str = ""
    degraded_webhooks_s: float = 600.0
    check_timeout_s: float = 2.0
    min_free_bytes: int = 1_000_000_000
    degraded_lag_s: float = 5.0
    degraded_clock_s: float = 5.0
    degraded_memory_percent: float = 95.0
    degraded_load: float = 8.0
    stalled_after_s: float = 30.0
    integrity_timeout_s: float = 300.0
    probe_keep_s: float = 5.0
    integrity_keep_s: float = 60.0
    integrity_percent: float = 1.0
    security_lines: int = 30
    security_sources: int = 1_000
    quota_photos: int = 0
    quota_bytes: int = 0
    quota_jobs: int = 0
    quota_uploads: int = 0
    quota_idempotency_keys: int = 1_000_000
    upload_keys_remembered: int = 10_000
    quota_job_bytes: int = JOB_BYTES

    @property
    def quota(self) -> Quota:
        """Return the default quota, of clients for which an operator has not set another."""
        names = Quota.__struct_fields__
        return Quota(**{name: getattr(self, f"quota_{name}") for name in names})
