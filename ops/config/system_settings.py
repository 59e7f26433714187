"""Settings of the system as a whole; see ``ops.config.settings``."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ops.config.bounds import Count, HttpUrl, Natural, Seconds
from ops.config.setting_values import SECRET, WITHOUT_PASSWORD
from store.breaker import FAILURES, OPEN_S

REDIS_URL = r"^(redis|rediss|unix|redis\+cluster|rediss\+cluster)://"


class SystemSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The places of data, log, keys and metrics."""

    data: Annotated[
        str, Meta(description="Folder for everything that is kept on this machine.", min_length=1)
    ] = "./photolog-data"
    host: Annotated[str, Meta(description="Address to listen on.", min_length=1)] = "127.0.0.1"
    port: Annotated[
        int, Meta(description="Port to listen on; 0 picks a free port.", ge=0, le=65_535)
    ] = 3000
    redis_url: Annotated[
        Annotated[str, Meta(pattern=REDIS_URL)] | None,
        Meta(
            description="Redis or Valkey server that holds the log, such as redis://HOST:PORT, or "
            "redis+cluster://HOST:PORT,HOST:PORT for a cluster; unset: the embedded Valkey."
        ),
        WITHOUT_PASSWORD,
    ] = None
    redis_memory_bytes: Annotated[
        Natural,
        Meta(
            description="Memory limit (maxmemory) of the embedded Valkey; 0: 40 % of the memory "
            "of this machine, or of the container."
        ),
    ] = 0
    secret: Annotated[
        Annotated[str, Meta(min_length=32)] | None,
        Meta(
            description="Secret that signs the tokens; unset: generated once and kept in the data "
            "folder."
        ),
        SECRET,
    ] = None
    previous_secret: Annotated[
        Annotated[str, Meta(min_length=32)] | None,
        Meta(
            description="Second secret, which verifies tokens but signs none, for the time in "
            "which the secret is changed."
        ),
        SECRET,
    ] = None
    partitions: Annotated[
        Annotated[int, Meta(ge=1, le=4096)] | None,
        Meta(
            description="Partitions of a new log; an existing log keeps its own. Unset: 1, or 16 "
            "on a cluster."
        ),
    ] = None
    workers: Annotated[Natural, Meta(description="Worker processes that `up` starts.")] = 1
    breaker_failures: Annotated[
        Count,
        Meta(
            description="Consecutive failures of Redis or of the blob storage that open its "
            "circuit breaker, so that it is left alone for a while."
        ),
    ] = FAILURES
    breaker_open_s: Annotated[
        Seconds,
        Meta(description="Longest time that a circuit breaker stays open before the next attempt."),
    ] = OPEN_S
    metrics_host: Annotated[
        str,
        Meta(description="Address for the metrics of all roles except the gateway.", min_length=1),
    ] = "127.0.0.1"
    metrics_port: Annotated[
        int,
        Meta(
            description="Port for these metrics, by convention 3003; 0 picks free ports. Under "
            "`up` the supervisor has this port, and projector, workers, archiver and delivery of "
            "webhooks the next ones.",
            ge=0,
            le=65_535,
        ),
    ] = 0
    otlp_endpoint: Annotated[
        HttpUrl | None,
        Meta(
            description="OpenTelemetry collector that receives the traces, such as "
            "http://127.0.0.1:4318; unset: no traces."
        ),
        WITHOUT_PASSWORD,
    ] = None
