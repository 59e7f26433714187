"""Settings of the gateway; ``gateway.http.limits`` has most defaults, and what each bound answers.

See ``ops.config.settings``.
"""

from typing import Annotated

from msgspec import Meta

from domain.clients.quotas import Most
from gateway.http.limits import Limits
from ops.config.bounds import Count, Natural, Percent, Positive, Seconds
from ops.config.system_settings import SystemSettings
from store.log.answered_settings import AnsweredSettings

_DEFAULT = Limits()
_ANSWERED = AnsweredSettings()


class GatewaySettings(SystemSettings, frozen=True, kw_only=True):
    """Proxies, uploads, quotas, requests, health, rooms and sign-in."""

    trusted_proxies: Annotated[
        str,
        Meta(
            description="Proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted, such as "
            "10.0.0.7,192.168.1.0/24."
        ),
    ] = _DEFAULT.trusted_proxies

    cors_origins: Annotated[
        str,
        Meta(
            description="Origins of other pages that may use the gateway from a browser, such as "
            "https://app.example.com,http://localhost:5173."
        ),
    ] = _DEFAULT.cors_origins

    max_upload_bytes: Annotated[Count, Meta(description="Maximum size of an upload.")] = (
        _DEFAULT.max_upload_bytes
    )
    body_patience_s: Annotated[
        Seconds, Meta(description="Longest duration of a request's body, other than an upload's.")
    ] = _DEFAULT.body_patience_s
    uploads_at_once: Annotated[
        Count,
        Meta(
            description="Maximum number of concurrent uploads of a gateway, at most three "
            "quarters of them from one client; further uploads wait."
        ),
    ] = _DEFAULT.uploads_at_once
    upload_patience_s: Annotated[
        Seconds, Meta(description="Longest wait of an upload for its turn, and for its next bytes.")
    ] = _DEFAULT.upload_patience_s
    slow_upload_s: Annotated[Seconds, Meta(description="Longest duration of an upload.")] = (
        _DEFAULT.slow_upload_s
    )
    open_uploads: Annotated[
        Count,
        Meta(
            description="Maximum number of unfinished resumable uploads of a client on one machine."
        ),
    ] = _DEFAULT.open_uploads
    upload_expires_s: Annotated[
        Seconds,
        Meta(
            description="How long a resumable upload can take from its creation; then its bytes "
            "are removed."
        ),
    ] = _DEFAULT.upload_expires_s
    open_upload_sessions: Annotated[
        Count,
        Meta(
            description="Maximum number of open upload sessions with which a client can open more."
        ),
    ] = _DEFAULT.open_upload_sessions
    upload_session_idle_s: Annotated[
        float,
        Meta(
            ge=0,
            le=31_622_400,
            description="An upload session expires after this long without an upload. 0: never.",
        ),
    ] = _DEFAULT.upload_session_idle_s
    max_fields: Annotated[
        Count, Meta(description="Maximum number of form fields of an upload.")
    ] = _DEFAULT.max_fields
    max_field_bytes: Annotated[
        Count, Meta(description="Maximum size of a form field other than the file.")
    ] = _DEFAULT.max_field_bytes
    filename_max: Annotated[
        Count,
        Meta(
            description="Maximum length of a file name, in bytes of UTF-8; a longer one is "
            "shortened and keeps its extension."
        ),
    ] = _DEFAULT.filename_max
    upload_keys_remembered: Annotated[
        Count,
        Meta(
            description="Idempotency keys of uploads that a gateway remembers itself, to reject "
            "other bytes under a key whose event was lost."
        ),
    ] = _DEFAULT.upload_keys_remembered

    quota_photos: Annotated[
        Most, Meta(description="Maximum number of photos of a client; 0: no limit.")
    ] = _DEFAULT.quota_photos
    quota_bytes: Annotated[
        Most,
        Meta(description="Maximum total size of a client's originals and renditions; 0: no limit."),
    ] = _DEFAULT.quota_bytes
    quota_jobs: Annotated[
        Most,
        Meta(description="Maximum number of jobs of a client that have not ended; 0: no limit."),
    ] = _DEFAULT.quota_jobs
    quota_job_bytes: Annotated[
        Most,
        Meta(
            description="Part of quota_bytes that each job reserves for its renditions until it "
            "ends; a recipe for larger pictures needs more."
        ),
    ] = _DEFAULT.quota_job_bytes
    quota_uploads: Annotated[
        Most,
        Meta(description="Maximum number of open uploads of a client in one gateway; 0: no limit."),
    ] = _DEFAULT.quota_uploads
    quota_idempotency_keys: Annotated[
        Most,
        Meta(
            description="Maximum number of idempotency keys of a client in 24 hours; 0: no limit."
        ),
    ] = _DEFAULT.quota_idempotency_keys

    max_json_bytes: Annotated[Count, Meta(description="Maximum size of a JSON body.")] = (
        _DEFAULT.max_json_bytes
    )
    header_patience_s: Annotated[
        Seconds, Meta(description="Longest time in which the head of a request must arrive.")
    ] = _DEFAULT.header_patience_s
    max_header_bytes: Annotated[
        Count, Meta(description="Maximum size of the request line and all headers together.")
    ] = _DEFAULT.max_header_bytes
    max_headers: Annotated[Count, Meta(description="Maximum number of headers of a request.")] = (
        _DEFAULT.max_headers
    )
    connections: Annotated[
        Count,
        Meta(
            description="Maximum number of concurrent connections of a gateway; further ones get "
            "503."
        ),
    ] = _DEFAULT.connections
    rate_subjects_kept: Annotated[
        Count,
        Meta(
            description="Clients and addresses that a gateway remembers for each rate limit; for "
            "others it asks Redis again."
        ),
    ] = _DEFAULT.rate_subjects_kept
    connections_reserved: Annotated[
        Natural,
        Meta(
            description="Connections reserved for health checks, metrics, operators and auditors, "
            "at most a quarter of all."
        ),
    ] = _DEFAULT.connections_reserved
    connections_per_address: Annotated[
        Count,
        Meta(
            description="Maximum number of concurrent connections of an IPv4 address or IPv6 /64 "
            "network; behind a trusted proxy, of concurrent requests of a forwarded address."
        ),
    ] = _DEFAULT.connections_per_address
    connections_per_client: Annotated[
        Count,
        Meta(
            description="Maximum number of concurrent requests, event streams and WebSockets of a "
            "client."
        ),
    ] = _DEFAULT.connections_per_client
    keep_alive_s: Annotated[
        Count, Meta(description="Longest silence on a connection between two requests.")
    ] = _DEFAULT.keep_alive_s
    drain_s: Annotated[
        Count, Meta(description="How long running requests may go on when a gateway stops.")
    ] = _DEFAULT.drain_s
    slow_reader_s: Annotated[
        Seconds, Meta(description="A reader that takes no bytes for this long is disconnected.")
    ] = _DEFAULT.slow_reader_s
    linger_s: Annotated[
        Seconds, Meta(description="How long the rest of a rejected body is read.")
    ] = _DEFAULT.linger_s
    after_timeout_s: Annotated[
        Seconds, Meta(description="Longest wait of a query with ?after= for the read model.")
    ] = _DEFAULT.after_timeout_s
    append_patience_s: Annotated[
        Seconds, Meta(description="How long a command waits while Redis is unavailable.")
    ] = _DEFAULT.append_patience_s
    append_wait_replicas: Annotated[
        Natural | None,
        Meta(
            description="Replicas that, besides Redis itself, must have an append on disk before "
            "it is confirmed; unset: 1 on a cluster that has replicas, otherwise an append is "
            "confirmed as soon as Redis has accepted it. Needs Redis 7.2 or Valkey."
        ),
    ] = None
    append_wait_s: Annotated[
        float,
        Meta(
            description="Longest wait for these disks before the append is retried.",
            gt=0,
            le=5,
        ),
    ] = 2.0
    answers_remembered: Annotated[
        Count,
        Meta(
            description="Confirmed appends that a gateway or worker remembers, to report those "
            "that a failover has lost."
        ),
    ] = _ANSWERED.answers_remembered
    answers_checked_s: Annotated[
        Seconds, Meta(description="How often the process checks that the log still has them.")
    ] = _ANSWERED.answers_checked_s
    failover_wait_s: Annotated[
        Seconds,
        Meta(
            description="How long a starting role waits for a Redis that is a replica, as after a "
            "failover, before it exits."
        ),
    ] = 60.0
    log_full_percent: Annotated[
        Percent,
        Meta(
            description="Memory use of the log's server, in percent of its maxmemory, above which "
            "only deletions, revocations and other commands that end work or access are "
            "accepted; the rest is for the results of accepted work."
        ),
    ] = _DEFAULT.log_full_percent
    page_limit_max: Annotated[Count, Meta(description="Maximum number of items of a page.")] = (
        _DEFAULT.page_limit_max
    )
    archive_photos: Annotated[
        Count, Meta(description="Maximum number of photos of one ZIP archive.")
    ] = _DEFAULT.archive_photos
    archive_bytes: Annotated[
        Count, Meta(description="Maximum size of one ZIP archive, in bytes.")
    ] = _DEFAULT.archive_bytes
    cancel_at_once: Annotated[
        Count, Meta(description="Maximum number of waiting tasks that one request cancels.")
    ] = _DEFAULT.cancel_at_once

    check_timeout_s: Annotated[Seconds, Meta(description="Longest duration of a health check.")] = (
        _DEFAULT.check_timeout_s
    )
    min_free_bytes: Annotated[
        Natural, Meta(description="Free space on the disk below which health is degraded.")
    ] = _DEFAULT.min_free_bytes
    reserve_bytes: Annotated[
        Natural,
        Meta(
            description="Space on the disk that uploads leave free, at most a tenth of the disk; "
            "renditions leave half of that free."
        ),
    ] = 200_000_000
    degraded_lag_s: Annotated[
        Seconds,
        Meta(
            description="Lag of the read model above which health is degraded: the age of the "
            "oldest event that it lacks."
        ),
    ] = _DEFAULT.degraded_lag_s
    degraded_clock_s: Annotated[
        Seconds,
        Meta(
            description="Difference between the clocks of the log's server and of the gateway "
            "above which health is degraded."
        ),
    ] = _DEFAULT.degraded_clock_s
    degraded_memory_percent: Annotated[
        Percent, Meta(description="Memory use of this machine above which health is degraded.")
    ] = _DEFAULT.degraded_memory_percent
    degraded_load: Annotated[
        Positive,
        Meta(description="Load average per processor above which health is degraded."),
    ] = _DEFAULT.degraded_load
    integrity_timeout_s: Annotated[
        Seconds,
        Meta(description="Longest time in which health checks the whole file of the read model."),
    ] = _DEFAULT.integrity_timeout_s
    integrity_keep_s: Annotated[
        Seconds, Meta(description="How long health reuses the result of that check.")
    ] = _DEFAULT.integrity_keep_s
    integrity_percent: Annotated[
        Percent,
        Meta(
            description="Most of the time that these checks may take: a large file is checked more "
            "rarely."
        ),
    ] = _DEFAULT.integrity_percent
    kept_generations: Annotated[
        Natural,
        Meta(
            description="Maximum number of replaced read models that are kept as evidence of a "
            "changed log."
        ),
    ] = 2
    probe_keep_s: Annotated[
        Seconds, Meta(description="How long health reuses the result of writing a small blob.")
    ] = _DEFAULT.probe_keep_s

    room_backlog: Annotated[
        Count,
        Meta(
            description="Maximum number of events buffered for a slow reader; beyond that it is "
            "served from the history again."
        ),
    ] = _DEFAULT.room_backlog
    rooms_per_socket: Annotated[
        Count, Meta(description="Maximum number of rooms of a WebSocket.")
    ] = _DEFAULT.rooms_per_socket
    message_max_bytes: Annotated[
        Count, Meta(description="Maximum size of a message that a client sends over a WebSocket.")
    ] = _DEFAULT.message_max_bytes
    errors_per_socket: Annotated[
        Count, Meta(description="Invalid messages after which a WebSocket is closed.")
    ] = _DEFAULT.errors_per_socket
    frames_per_minute: Annotated[
        Count,
        Meta(
            description="Maximum number of pings, pongs and fragments that a client sends over a "
            "WebSocket within a minute."
        ),
    ] = _DEFAULT.frames_per_minute

    token_ttl_max_s: Annotated[
        int,
        Meta(description="Longest lifetime of a token.", ge=60, le=366 * 86_400),
    ] = 30 * 86_400
    sessions_per_client: Annotated[
        Count,
        Meta(
            description="Maximum number of browsers in which a client is signed in; one more "
            "signs the oldest out."
        ),
    ] = _DEFAULT.sessions_per_client
    tickets_per_client: Annotated[
        Count,
        Meta(
            description="Maximum number of unused sign-in links of a client; one more invalidates "
            "the oldest."
        ),
    ] = _DEFAULT.tickets_per_client
    stream_tickets_per_client: Annotated[
        Count,
        Meta(
            description="Maximum number of unused tickets of streams of a client; one more "
            "invalidates the oldest."
        ),
    ] = _DEFAULT.stream_tickets_per_client
    ticket_ttl_s: Annotated[
        float, Meta(description="How long a sign-in link is valid.", ge=1, le=3600)
    ] = _DEFAULT.ticket_ttl_s
