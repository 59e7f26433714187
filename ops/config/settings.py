"""Every setting: its name, default, bounds and meaning.

A setting ``port`` is the environment variable ``PHOTOLOG_PORT`` or the line ``port = 3000`` of a
TOML file; see ``ops.config.loading``.
"""

from pathlib import Path
from typing import Annotated, Literal, get_type_hints

from msgspec import Meta

from domain.clients.quotas import JOB_BYTES, Most
from domain.pipeline.failures import Category
from domain.pipeline.retries import STRATEGIES, Strategies
from ops.config.rate_settings import RateSettings
from ops.config.strategies import parse, text_of

PREFIX = "PHOTOLOG_"

RETRY = "retry_"
"""Begins the settings that are strategies, one a category; what they do not name is the default."""

REDIS_URL = r"^(redis|rediss|unix|redis\+cluster|rediss\+cluster)://"

REFUSED_FORMATS = r"^((JPEG|PNG|WebP|GIF|TIFF|AVIF|HEIC|HEIF)( (?=.)|$))*$"

Natural = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Positive = Annotated[float, Meta(gt=0)]
Percent = Annotated[float, Meta(gt=0, le=100)]


class Settings(RateSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator can change. A name says its unit."""

    data: Annotated[
        str, Meta(description="Folder of everything kept on this machine.", min_length=1)
    ] = "./photolog-data"
    host: Annotated[str, Meta(description="Address to listen on.", min_length=1)] = "127.0.0.1"
    port: Annotated[
        int, Meta(description="Port to listen on; 0 takes a free one.", ge=0, le=65_535)
    ] = 3000
    redis_url: Annotated[
        Annotated[str, Meta(pattern=REDIS_URL)] | None,
        Meta(
            description="Redis or Valkey that holds the log, redis+cluster://HOST:PORT,HOST:PORT "
            "for a cluster; unset: our own."
        ),
    ] = None
    redis_memory_bytes: Annotated[
        Natural,
        Meta(
            description="Most memory of our own Redis, its maxmemory; 0: two fifths of what this "
            "machine, or the container, has."
        ),
    ] = 0
    secret: Annotated[
        Annotated[str, Meta(min_length=32)] | None,
        Meta(description="Signs the tokens; unset: drawn once, kept in the data folder."),
    ] = None
    previous_secret: Annotated[
        Annotated[str, Meta(min_length=32)] | None,
        Meta(description="Signs nothing; verifies the tokens of before a change of the secret."),
    ] = None
    partitions: Annotated[
        Annotated[int, Meta(ge=1, le=4096)] | None,
        Meta(
            description="Partitions of a new log; an existing one keeps its own. Unset: 1, and 16 "
            "on a cluster."
        ),
    ] = None
    workers: Annotated[Natural, Meta(description="Worker processes that `up` starts.")] = 1
    breaker_failures: Annotated[
        Count, Meta(description="Failures in a row after which Redis or the blobs are left alone.")
    ] = 5
    breaker_open_s: Annotated[
        Seconds, Meta(description="Longest time that they are left alone before the next try.")
    ] = 5.0
    metrics_host: Annotated[
        str,
        Meta(description="Address for the metrics of all roles but the gateway.", min_length=1),
    ] = "127.0.0.1"
    metrics_port: Annotated[
        int,
        Meta(
            description="Port there for the metrics, 3003 by custom; under `up` its own, "
            "those of projector and workers follow; 0 takes free ones.",
            ge=0,
            le=65_535,
        ),
    ] = 0
    otlp_endpoint: Annotated[
        Annotated[str, Meta(pattern="^(http|https)://")] | None,
        Meta(
            description="OpenTelemetry collector that gets the traces, as http://127.0.0.1:4318; "
            "unset: there are none."
        ),
    ] = None

    trusted_proxies: Annotated[
        str,
        Meta(
            description="Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, as "
            "10.0.0.7,192.168.1.0/24."
        ),
    ] = ""
    max_upload_bytes: Annotated[Count, Meta(description="Largest upload.")] = 100_000_000
    uploads_at_once: Annotated[
        Count, Meta(description="Uploads that a gateway takes at once; more wait.")
    ] = 64
    upload_patience_s: Annotated[
        Seconds, Meta(description="Longest wait for an upload's turn, and for its next bytes.")
    ] = 10.0
    slow_upload_s: Annotated[Seconds, Meta(description="Longest time of a whole upload.")] = 1800.0
    max_fields: Annotated[Count, Meta(description="Form fields of an upload.")] = 16
    max_field_bytes: Annotated[Count, Meta(description="Largest form field beside the file.")] = (
        65_536
    )
    filename_max: Annotated[Count, Meta(description="Bytes kept of a file name.")] = 255
    upload_keys_remembered: Annotated[
        Count,
        Meta(
            description="Idempotency keys of uploads that a gateway remembers itself, to reject "
            "other bytes under one whose event was lost."
        ),
    ] = 10_000
    quota_photos: Annotated[Most, Meta(description="Photos of a client; 0: no limit.")] = 0
    quota_bytes: Annotated[
        Most, Meta(description="Bytes of a client's originals and renditions; 0: no limit.")
    ] = 0
    quota_jobs: Annotated[
        Most, Meta(description="Jobs of a client that have not ended; 0: no limit.")
    ] = 0
    quota_job_bytes: Annotated[
        Most,
        Meta(
            description="Bytes of quota_bytes that each job reserves, until it ends, for the "
            "pictures it may make; a recipe of larger pictures needs more."
        ),
    ] = JOB_BYTES
    quota_uploads: Annotated[
        Most, Meta(description="Open uploads of a client in one gateway; 0: no limit.")
    ] = 0
    quota_idempotency_keys: Annotated[
        Most, Meta(description="Idempotency keys of a client in 24 hours; 0: no limit.")
    ] = 1_000_000
    max_json_bytes: Annotated[Count, Meta(description="Largest JSON body.")] = 65_536
    header_patience_s: Annotated[Seconds, Meta(description="Longest time of a request's head.")] = (
        10.0
    )
    max_header_bytes: Annotated[
        Count, Meta(description="Largest request line and headers together.")
    ] = 65_536
    max_headers: Annotated[Count, Meta(description="Headers of a request.")] = 100
    connections: Annotated[
        Count, Meta(description="Connections of a gateway at once; more get 503.")
    ] = 4_000
    rate_subjects_kept: Annotated[
        Count,
        Meta(
            description="Clients and addresses whose rate limits a gateway remembers, for each "
            "limit; others are asked of Redis again."
        ),
    ] = 10_000
    connections_reserved: Annotated[
        Natural,
        Meta(
            description="How many of them are kept for health checks, metrics, operators and "
            "auditors, but a quarter at most."
        ),
    ] = 64
    connections_per_address: Annotated[
        Count,
        Meta(
            description="Connections of one IPv4 address or IPv6 /64 network; behind a trusted "
            "proxy, requests at once of a forwarded address."
        ),
    ] = 1_000
    connections_per_client: Annotated[
        Count,
        Meta(description="Requests, event streams and WebSockets of one client at once."),
    ] = 400
    keep_alive_s: Annotated[
        Count, Meta(description="Longest silence on a connection between two requests.")
    ] = 30
    drain_s: Annotated[
        Count, Meta(description="How long requests may go on when a gateway stops.")
    ] = 10
    slow_reader_s: Annotated[
        Seconds, Meta(description="A reader that takes nothing this long is let go.")
    ] = 30.0
    linger_s: Annotated[
        Seconds, Meta(description="How long the rest of a refused body is read.")
    ] = 5.0
    after_timeout_s: Annotated[
        Seconds, Meta(description="Longest wait of ?after= for the read model.")
    ] = 5.0
    append_patience_s: Annotated[
        Seconds, Meta(description="How long a command waits while Redis is away.")
    ] = 10.0
    append_wait_replicas: Annotated[
        Natural | None,
        Meta(
            description="An append is answered when it is on the disk of Redis and of so many "
            "replicas; unset: 1 on a cluster that has replicas, else when Redis has taken it. "
            "Needs Redis 7.2 or Valkey."
        ),
    ] = None
    append_wait_s: Annotated[
        float,
        Meta(
            description="Longest wait for those disks before the append is tried again.", gt=0, le=5
        ),
    ] = 2.0
    answers_remembered: Annotated[
        Count,
        Meta(
            description="Appends that a gateway or worker remembers having been answered for, to "
            "name those that a failover has lost."
        ),
    ] = 10_000
    answers_checked_s: Annotated[
        Seconds, Meta(description="How often it looks whether the log still has them.")
    ] = 2.0
    failover_wait_s: Annotated[
        Seconds,
        Meta(
            description="How long a role that starts waits for a Redis that is a replica, as after "
            "a failover; then it ends."
        ),
    ] = 60.0
    log_full_percent: Annotated[
        Percent,
        Meta(
            description="Part of the memory that the server of the log may use (maxmemory) above "
            "which uploads are refused; the rest is for results, deletions and operators."
        ),
    ] = 90.0
    page_limit_max: Annotated[Count, Meta(description="Most items of one page.")] = 200
    drain_at_once: Annotated[
        Count, Meta(description="Tasks that one call of drain takes away.")
    ] = 1_000
    check_timeout_s: Annotated[Seconds, Meta(description="Longest time of one health check.")] = 2.0
    min_free_bytes: Annotated[
        Natural, Meta(description="Room on the disk below which health says degraded.")
    ] = 1_000_000_000
    reserve_bytes: Annotated[
        Natural,
        Meta(
            description="Room on the disk that uploads leave free, but a tenth of it at most; "
            "pictures made from photos leave half of that."
        ),
    ] = 200_000_000
    degraded_lag_s: Annotated[
        Seconds,
        Meta(description="Age of an event outside the read model that health calls degraded."),
    ] = 5.0
    degraded_clock_s: Annotated[
        Seconds,
        Meta(description="How far the log's clock may differ before health says degraded."),
    ] = 5.0
    degraded_memory_percent: Annotated[
        Percent, Meta(description="Memory in use of this machine above which health is degraded.")
    ] = 95.0
    degraded_load: Annotated[
        Positive,
        Meta(description="Load average of a processor above which health is degraded."),
    ] = 8.0
    integrity_timeout_s: Annotated[
        Seconds, Meta(description="Longest look of health at the whole file of the read model.")
    ] = 10.0
    integrity_keep_s: Annotated[
        Seconds, Meta(description="How long health tells what that look has found.")
    ] = 60.0
    kept_generations: Annotated[
        Natural,
        Meta(description="Most replaced read models that are kept as evidence of a changed log."),
    ] = 2
    probe_keep_s: Annotated[
        Seconds, Meta(description="How long health tells what writing a small blob has shown.")
    ] = 5.0

    room_backlog: Annotated[
        Count, Meta(description="Events kept for a slow reader; more are read again from history.")
    ] = 1_000
    rooms_per_socket: Annotated[Count, Meta(description="Rooms that one WebSocket may be in.")] = (
        100
    )
    message_max_bytes: Annotated[
        Count, Meta(description="Largest message that a WebSocket takes.")
    ] = 65_536
    errors_per_socket: Annotated[
        Count, Meta(description="Wrong messages after which a WebSocket is closed.")
    ] = 10
    frames_per_minute: Annotated[
        Count,
        Meta(description="Pings, pongs and fragments that a WebSocket takes within a minute."),
    ] = 1_200

    token_ttl_max_s: Annotated[
        int,
        Meta(description="Longest life of a token.", ge=60, le=366 * 86_400),
    ] = 30 * 86_400
    sessions_per_client: Annotated[
        Count, Meta(description="Browsers of a client that are signed in; then the oldest is not.")
    ] = 50
    tickets_per_client: Annotated[
        Count, Meta(description="Unused sign-in links of a client; then the oldest does not count.")
    ] = 10
    ticket_ttl_s: Annotated[
        float, Meta(description="How long a sign-in link may be used.", ge=1, le=3600)
    ] = 600.0

    concurrency: Annotated[
        Natural, Meta(description="Tasks that a worker has in hand; 0: five a decoder.")
    ] = 0
    client_concurrency: Annotated[
        Natural,
        Meta(description="Of those, the tasks of one client; 0: half, but one a decoder."),
    ] = 0
    stalled_after_s: Annotated[
        Seconds, Meta(description="A task without a sign of life this long is taken over.")
    ] = 30.0
    max_stalls: Annotated[
        Natural, Meta(description="How often a task may stall before it fails.")
    ] = 1
    worker_drain_s: Annotated[
        Seconds, Meta(description="How long a worker that stops may finish what it has.")
    ] = 20.0
    worker_patience_s: Annotated[
        Seconds, Meta(description="How long a worker keeps a result while Redis is away.")
    ] = 3600.0
    retry_temporary: Annotated[str, Meta(description="Retries when a dependency is away.")] = (
        text_of(STRATEGIES[Category.TEMPORARY])
    )
    retry_resource: Annotated[
        str, Meta(description="Retries when memory, disk or time ran out.")
    ] = text_of(STRATEGIES[Category.RESOURCE])
    retry_data: Annotated[
        str, Meta(description="Retries when a file is no picture we can read.")
    ] = text_of(STRATEGIES[Category.DATA])
    retry_logic: Annotated[str, Meta(description="Retries after a bug of ours.")] = text_of(
        STRATEGIES[Category.LOGIC]
    )
    retry_security: Annotated[str, Meta(description="Retries after hostile input.")] = text_of(
        STRATEGIES[Category.SECURITY]
    )
    retry_configuration: Annotated[
        str, Meta(description="Retries of what an operator has to change first.")
    ] = text_of(STRATEGIES[Category.CONFIGURATION])
    max_pixels: Annotated[Count, Meta(description="Most pixels of a picture that is decoded.")] = (
        150_000_000
    )
    max_frames: Annotated[Count, Meta(description="Most frames of an animated picture.")] = 1_000
    max_parts: Annotated[
        Count, Meta(description="Most segments, chunks or blocks of a picture file, filler too.")
    ] = 500_000
    max_scans: Annotated[Count, Meta(description="Most scans of a progressive JPEG.")] = 100
    refused_formats: Annotated[
        str,
        Meta(
            description="Formats that are not decoded, as 'HEIC HEIF': for a decoder with a flaw "
            "that no release has fixed yet.",
            pattern=REFUSED_FORMATS,
        ),
    ] = ""
    decoders: Annotated[
        Natural, Meta(description="Decoder processes of a worker; 0: one a processor.")
    ] = 0
    decoder_memory_bytes: Annotated[
        Count, Meta(description="Address space that one decoder process may use.")
    ] = 3 << 30
    worker_memory_bytes: Annotated[
        Natural,
        Meta(
            description="Memory that the decoders of a worker may use together; 0: three quarters "
            "of what the machine or its cgroup has free at the start, under `up` shared out."
        ),
    ] = 0
    decoder_cache_bytes: Annotated[
        Natural, Meta(description="Decoded pictures that one decoder process keeps.")
    ] = 64 << 20
    decoder_answer_bytes: Annotated[
        Count, Meta(description="Largest answer of a decoder, with the pictures it has made.")
    ] = 64 << 20
    decoder_user: Annotated[
        str,
        Meta(
            description="User that decoders become, by name or number, if the worker is root or "
            "may otherwise; empty: they stay the worker's."
        ),
    ] = "nobody"
    decoder_seccomp: Annotated[
        bool, Meta(description="Let decoders make only the system calls that decoding needs.")
    ] = True
    decoder_landlock: Annotated[
        bool, Meta(description="Take the file system and the network from decoders with Landlock.")
    ] = True
    expensive_s: Annotated[
        Positive,
        Meta(
            description="A picture expected to take a decoder longer is expensive: of several "
            "decoders, one is always left for others."
        ),
    ] = 2.0
    slow_s: Annotated[
        Positive,
        Meta(
            description="So does a picture that has taken longer than this; if it holds the last "
            "decoder while others wait, it begins anew later."
        ),
    ] = 10.0
    stage_timeout_s: Annotated[
        Seconds, Meta(description="Longest run of a stage; then its decoder is killed.")
    ] = 60.0
    superseded_grace_s: Annotated[
        float,
        Meta(
            description="How long renditions that a later job has replaced stay, but at least as "
            "long as a signed URL works.",
            ge=0,
            le=2_592_000,
        ),
    ] = 3600.0
    recipe_longest_edge: Annotated[
        int, Meta(description="Longest edge of the optimized picture, in pixels.", ge=1, le=16_383)
    ] = 1920
    recipe_quality: Annotated[
        int, Meta(description="WebP quality of the optimized picture.", ge=1, le=100)
    ] = 80
    recipe_method: Annotated[
        int, Meta(description="WebP effort: 0 is fast, 6 makes small files.", ge=0, le=6)
    ] = 4

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least level that is shown.")
    ] = "warning"
    log_format: Annotated[
        Literal["text", "json"], Meta(description="How log lines are written.")
    ] = "text"
    security_lines: Annotated[
        Natural,
        Meta(
            description="Lines of the security log a minute, of one kind and source; the others "
            "are counted."
        ),
    ] = 30
    security_sources: Annotated[
        Count,
        Meta(description="Sources that the security log tells apart within a minute."),
    ] = 1_000

    @property
    def folder(self) -> Path:
        """The data folder, absolute."""
        return Path(self.data).expanduser().absolute()

    @property
    def superseded_grace(self) -> float:
        """How long superseded renditions stay, in seconds: no signed URL may lead to nothing."""
        return max(self.superseded_grace_s, self.s3_link_s if self.s3_links else 0.0)

    @property
    def strategies(self) -> Strategies:
        """What follows a failed attempt, by its category."""
        return {
            category: parse(getattr(self, RETRY + category), default)
            for category, default in STRATEGIES.items()
        }

    @property
    def blobs_folder(self) -> Path:
        return self.folder / "blobs"

    @property
    def read_model_folder(self) -> Path:
        return self.folder / "read-model"


PARTS = {
    "data": "The system",
    "trusted_proxies": "Proxies",
    "max_upload_bytes": "Uploads",
    "quota_photos": "Quotas of each client",
    "max_json_bytes": "Requests",
    "check_timeout_s": "Health",
    "room_backlog": "Rooms",
    "token_ttl_max_s": "Sign-in",
    "concurrency": "Worker",
    "max_pixels": "Pictures",
    "log_level": "Log lines",
    "s3_endpoint": "Photos on a server of S3",
    "rate_requests": "Rate limits",
}
"""The first setting of each part; in ``Settings`` those of one part stand together."""


HINTS = dict(
    sorted(
        get_type_hints(Settings, include_extras=True).items(),
        key=lambda hint: hint[0] in RateSettings.__struct_fields__,
    )
)
"""The type of each setting, with its bounds and its meaning; those of ``Settings`` itself first."""


def variable_of(name: str) -> str:
    return PREFIX + name.upper()
