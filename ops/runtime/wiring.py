"""Build everything from settings, in one place, for every process and for the tests.

Packages that only one role uses are imported inside its function: without Litestar and Pillow a
projector takes 25 MB less and starts in half the time.
"""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio
import msgspec

from handlers.decoder.settings import Pace, Sandbox
from handlers.worker.settings import WorkerSettings
from ops import memory
from ops.config.loading import describe, shown
from ops.config.settings import Settings, variable_of
from ops.errors import UserError
from ops.maintenance import import_note, log_ownership
from ops.maintenance.bundled import known_flaws
from ops.maintenance.settling import settle
from ops.process.embedded_valkey import url_in
from ops.process.file_limit import raise_limit
from ops.process.lock import is_locked
from ops.runtime.blobs import Segments, open_store, partials
from ops.runtime.durability import guarantee_of
from ops.runtime.waiting import outage_of, until_available
from ops.telemetry import gauges
from ops.telemetry.failed_tasks import recording_losses, reporting
from ops.telemetry.logs import starting
from ops.telemetry.metrics import Role
from ops.telemetry.telemetry import Telemetry
from store.archive.archive import Archive
from store.blobs.interface import Blobs
from store.breaker import Breaker
from store.errors import Denied, Full, IsReplica, StoreError, Unavailable, UnsuitableServer
from store.keys import DEFAULT_PREFIX
from store.log.answered import Answered
from store.log.log import Log
from store.observing import AppendObserver, OperationObserver, ignore
from store.redis import guarantee
from store.redis.cluster import Cluster
from store.redis.connection import Client, Wait, connect
from store.redis.guarantee import Guarantee
from store.redis.preflight import examine
from store.sqlite.generations import Generations

if TYPE_CHECKING:
    from gateway.dependencies import Dependencies
    from handlers.worker.worker import Worker
    from projections.projector import Projector

logger = logging.getLogger("photolog")

TASKS_PER_DECODER = 5
"""One that is decoded, and others that are read, stored or next in line: no decoder waits."""

WORKERS_RESERVE = 0.5
"""Fraction of the disk's reserve that workers leave free: less than gateways, to finish photos."""

CLUSTER_PARTITIONS = 16
"""Partitions of a new log on a cluster, so that each of several masters has some."""

Bounds = TypeVar("Bounds", bound=msgspec.Struct)


def redis_url(settings: Settings) -> str:
    """Return the URL in the settings, or that of the server that `up` runs on the data folder."""
    return settings.redis_url or url_in(settings.folder / "valkey")


@asynccontextmanager
async def open_telemetry(settings: Settings, role: Role, name: str) -> AsyncGenerator[Telemetry]:
    """Open the telemetry of the process called ``name``.

    Raises:
        UserError: the settings name a collector for traces, and OpenTelemetry is not installed.
    """
    if settings.otlp_endpoint is None:
        yield Telemetry(role)
        return
    try:
        from ops.telemetry.otlp import exporting  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            f"PHOTOLOG_OTLP_ENDPOINT needs OpenTelemetry: install photolog[otel] ({error})"
        ) from error
    telemetry = Telemetry(role)

    def failed(error: Exception) -> None:
        telemetry.background.failed("traces", error)

    async with exporting(settings.otlp_endpoint, role, name, failed) as telemetry.spans:
        yield telemetry


@asynccontextmanager
async def open_log(
    settings: Settings,
    *,
    patient: bool = False,
    create: bool | None = None,
    settled: bool | None = None,
    prefix: str = DEFAULT_PREFIX,
    observe: AppendObserver = ignore,
) -> AsyncGenerator[Log]:
    """Open the log. A ``patient`` caller waits until Redis answers, and logs that it waits.

    ``create``, by default for patient callers, creates the log if Redis holds none.

    ``settled``, by default for patient callers and those that create, makes reads wait until they
    are as durable as ``append_wait_replicas`` requires. A caller that appends, removes something or
    stores what it reads needs that. Any other reader works with any number of replicas, and may see
    an event that is lost later.

    Raises:
        Unavailable: Redis does not answer, and the caller is not patient.
        Full: Redis has no memory or disk left, and the caller is not patient.
        UserError: Redis holds no log, is unsuitable for one, rejects our credentials, or has been
            a replica for ``failover_wait_s``.
    """
    create = patient if create is None else create
    settled = patient or create if settled is None else settled
    redis = connect(redis_url(settings), _breaker("redis", settings))
    segments = Segments(settings)
    outage = outage_of("Redis")
    try:
        while True:
            try:
                log, risks, given = await _join(settings, redis, prefix, create, settled)
                break
            except (Unavailable, Full) as error:
                if not patient:
                    raise _without_log(settings, error) from error
                if isinstance(error, IsReplica) and outage.waited_s > settings.failover_wait_s:
                    raise UserError(
                        f"PHOTOLOG_REDIS_URL: after {settings.failover_wait_s:g} s "
                        f"(PHOTOLOG_FAILOVER_WAIT_S) {error}"
                    ) from error
                await outage.wait(error, least_s=error.retry_after_s)
        if patient:
            await import_note.refuse_unfinished(log)
        log.observe = observe
        log.guarantee = given
        log.archive = Archive(segments, log.log_id)
        log.answered = Answered(log, log.partitions, settings.answers_remembered)
        if patient:
            starting.info("opened the log at %s, partitions: %d", _url(settings), log.partitions)
            for risk in risks:
                logger.warning("PHOTOLOG_REDIS_URL: %s", risk)
        yield log
    finally:
        segments.close()
        with anyio.CancelScope(shield=True):
            await redis.aclose()


@asynccontextmanager
async def open_empty(settings: Settings) -> AsyncGenerator[tuple[Client, Wait | None]]:
    """Open a server that may have no log; yield it, and what writes to it wait for.

    Raises:
        Unavailable: Redis does not answer.
        UserError: it is unsuitable for a log, or rejects our credentials.
    """
    redis = connect(redis_url(settings), _breaker("redis", settings))
    try:
        try:
            await examine(redis)
            given = await guarantee_of(redis, settings, DEFAULT_PREFIX, waits=True)
        except (Denied, UnsuitableServer) as error:
            raise UserError(f"PHOTOLOG_REDIS_URL: {error}") from error
        yield redis, given.wait
    finally:
        with anyio.CancelScope(shield=True):
            await redis.aclose()


async def _join(
    settings: Settings, redis: Client, prefix: str, create: bool, settled: bool
) -> tuple[Log, list[str], Guarantee]:
    """Return the log, the risks of its server, and what it guarantees; raises as ``open_log``."""
    partitions = settings.partitions or (CLUSTER_PARTITIONS if isinstance(redis, Cluster) else 1)
    try:
        risks = await examine(redis)
        given = await guarantee_of(redis, settings, prefix, waits=settled)
        if create:
            log = await Log.open(redis, partitions=partitions, prefix=prefix, wait=given.wait)
            await guarantee.keep(redis, log.keys, given)
        else:
            log = await Log.find(redis, prefix=prefix, wait=given.wait)
    except (Denied, UnsuitableServer) as error:
        raise UserError(f"PHOTOLOG_REDIS_URL: {error}") from error
    if log is None:
        raise UserError(f"PHOTOLOG_REDIS_URL: there is no log at {_url(settings)}")
    return log, risks, given


def _url(settings: Settings) -> str:
    """Return the URL of the log without the password."""
    return shown("redis_url", redis_url(settings))


def _without_log(settings: Settings, error: StoreError) -> StoreError:
    """Return the error for a caller that does not wait: it says which setting to look at."""
    if isinstance(error, Full):
        return error
    if settings.redis_url is not None:
        return Unavailable(f"PHOTOLOG_REDIS_URL: {error}")
    if not is_locked(settings.folder):
        return Unavailable(
            f"No Photolog runs on {settings.folder}: start it with `photolog up`, name another "
            "folder with --data or PHOTOLOG_DATA, or the server that has the log with "
            "PHOTOLOG_REDIS_URL"
        )
    return Unavailable(
        f"The log on {settings.folder} does not answer: Photolog is starting or stopping, or "
        f"`photolog health` shows what is wrong ({error})"
    )


@asynccontextmanager
async def open_blobs(
    settings: Settings,
    log: Log,
    owner: str,
    *,
    reserved: float = 1.0,
    observe: OperationObserver = ignore,
) -> AsyncGenerator[Blobs]:
    """Open the blobs for the process called ``owner``, and clear up what its predecessor left.

    Waits until the blobs are available. ``reserved`` is the fraction of the disk's reserve that
    this process leaves free.

    Raises:
        UserError: the folder or the bucket is unusable, or belongs to another log.
    """
    breaker = _breaker("blobs", settings)
    async with open_store(
        settings, owner, patient=True, reserved=reserved, breaker=breaker, observe=observe
    ) as blobs:
        setting = place_of_blobs(settings)
        await until_available(
            "log and photos", lambda: log_ownership.check(log, blobs, setting=setting)
        )
        await until_available("log and photos", lambda: settle(log, blobs))
        yield blobs


async def _check_folder(settings: Settings, log: Log) -> None:
    """Reject a data folder with the files of another log; a folder without files is accepted."""
    if settings.s3_endpoint is None and (settings.blobs_folder / log_ownership.KEY).exists():
        async with open_store(settings, "projector") as blobs:
            await log_ownership.refuse_others(log, blobs, setting=place_of_blobs(settings))


def place_of_blobs(settings: Settings) -> str:
    """Return the environment variable that locates the blobs."""
    return variable_of("data" if settings.s3_endpoint is None else "s3_bucket")


def generations(settings: Settings) -> Generations:
    return Generations(settings.read_model_folder, settings.kept_generations)


@asynccontextmanager
async def open_gateway(
    settings: Settings,
    owner: str,
    telemetry: Telemetry,
    *,
    prefix: str = DEFAULT_PREFIX,
    sources: Mapping[str, str] | None = None,
) -> "AsyncGenerator[Dependencies]":
    """Open the dependencies of ``gateway.app.create_app``; waits for Redis.

    ``sources`` says where each setting comes from.
    """
    from gateway.dependencies import Dependencies, RunningSetting  # noqa: PLC0415
    from gateway.http.limits import Limits  # noqa: PLC0415
    from ops.runtime.descriptors import fitted  # noqa: PLC0415
    from ops.runtime.tokens import tokens  # noqa: PLC0415
    from ops.runtime.webhook_key import webhook_secrets  # noqa: PLC0415
    from projections.other_versions import reader_of  # noqa: PLC0415

    limits, note = fitted(bounds(Limits, settings), raise_limit())
    if note:
        logger.warning("PHOTOLOG_CONNECTIONS: %s", note)
    signing = tokens(settings, create_key=True)
    async with (
        open_log(settings, patient=True, prefix=prefix, observe=telemetry.appended) as log,
        open_blobs(settings, log, owner, observe=telemetry.operated) as blobs,
        recording_losses(log, "gateway", telemetry.background, settings.answers_checked_s),
    ):
        if log.guarantee.risk:  # logged by the gateway alone, not by each role
            logger.warning("PHOTOLOG_APPEND_WAIT_REPLICAS: %s", log.guarantee.risk)
        reader = reader_of(generations(settings))
        try:
            yield Dependencies(
                log=log,
                blobs=blobs,
                partials=partials(settings),
                reader=reader,
                tokens=signing,
                webhook_secrets=webhook_secrets(settings),
                rates=settings.rates,
                oidc=settings.oidc,
                limits=limits,
                connections_note=note,
                background=telemetry.background,
                observe=telemetry.answered,
                limited=telemetry.limited,
                exposition=telemetry.gateway_exposition,
                settings=tuple(
                    RunningSetting(
                        name=name,
                        value=None if value is None else shown(name, value),
                        source=(sources or {}).get(name, "default"),
                        meaning=describe(name)[0],
                    )
                    for name, value in msgspec.structs.asdict(settings).items()
                ),
                known_flaws=_known_flaws,
            )
        finally:
            reader.close()


async def _known_flaws() -> list[str]:
    return [str(flaw) for flaw in await known_flaws()]


@asynccontextmanager
async def open_projector(
    settings: Settings, owner: str, telemetry: Telemetry, *, prefix: str = DEFAULT_PREFIX
) -> "AsyncGenerator[Projector]":
    """Open the projector of this data folder; waits for Redis."""
    from projections.projector import Projector  # noqa: PLC0415

    async with open_log(settings, patient=True, prefix=prefix) as log:
        await until_available("photos", lambda: _check_folder(settings, log))
        async with reporting(log, owner, telemetry.background):
            yield Projector(
                *(log, generations(settings), telemetry.committed, telemetry.background),
                objection=_broken,
            )


async def _broken(log: Log) -> str | None:
    """Return why this log must not replace a read model; None if its chains are whole."""
    from ops.maintenance.audit import audit  # noqa: PLC0415

    breaks = (await audit(log)).breaks
    if not breaks:
        return None
    return (
        f"the log is broken in {len(breaks)} places, the first one at {breaks[0].position}: "
        "`photolog verify` shows them; `photolog projections rebuild --force` rebuilds all the same"
    )


@asynccontextmanager
async def open_worker(
    settings: Settings,
    owner: str,
    telemetry: Telemetry,
    *,
    consumer: str,
    dead: str | None = None,
    prefix: str = DEFAULT_PREFIX,
) -> "AsyncGenerator[Worker]":
    """Open a worker with its decoders; waits for Redis. ``consumer`` and ``dead`` as in ``Worker``.

    Raises:
        UserError: the blobs are unusable, or a setting is wrong.
    """
    from handlers.decoder.pool import DecoderPool  # noqa: PLC0415
    from handlers.decoder.report import reporting as decoders_reported  # noqa: PLC0415
    from handlers.stage import ImageLimits, Recipe, StageContext  # noqa: PLC0415
    from handlers.worker.worker import Worker  # noqa: PLC0415

    try:
        children = DecoderPool(
            count=settings.decoders or None,
            context=StageContext(
                limits=bounds(ImageLimits, settings),
                recipe=Recipe(
                    longest_edge=settings.recipe_longest_edge,
                    quality=settings.recipe_quality,
                    method=settings.recipe_method,
                ),
            ),
            memory_bytes=settings.decoder_memory_bytes,
            budget_bytes=settings.worker_memory_bytes or memory.share(1),
            cache_bytes=settings.decoder_cache_bytes,
            answer_bytes=settings.decoder_answer_bytes,
            sandbox=Sandbox(
                seccomp=settings.decoder_seccomp,
                landlock=settings.decoder_landlock,
                user=settings.decoder_user,
            ),
            pace=bounds(Pace, settings),
            background=telemetry.background,
        )
    except KeyError as error:
        raise UserError(
            f"PHOTOLOG_DECODER_USER: this machine has no user {settings.decoder_user}; name one "
            "that exists, or unset it"
        ) from error
    async with (
        open_log(settings, patient=True, prefix=prefix, observe=telemetry.appended) as log,
        children,
        open_blobs(
            settings, log, owner, reserved=WORKERS_RESERVE, observe=telemetry.operated
        ) as blobs,
    ):
        concurrency = settings.concurrency or TASKS_PER_DECODER * children.count
        half = max((concurrency + 1) // 2, children.count)
        worker = Worker(
            log,
            blobs,
            children,
            consumer=consumer,
            dead=dead,
            settings=WorkerSettings(
                concurrency=concurrency,
                client_concurrency=settings.client_concurrency or half,
                stalled_after_s=settings.stalled_after_s,
                max_stalls=settings.max_stalls,
                stage_timeout_s=settings.stage_timeout_s,
                superseded_grace_s=settings.superseded_grace,
                drain_s=settings.worker_drain_s,
                patience_s=settings.worker_patience_s,
            ),
            strategies=settings.strategies,
            observe=telemetry.ran,
            background=telemetry.background,
        )
        breakers = log.redis.breaker, blobs.breaker
        telemetry.watch(lambda: gauges.of_worker(worker, children, breakers))
        async with (
            reporting(log, owner, telemetry.background),
            recording_losses(log, "worker", telemetry.background, settings.answers_checked_s),
            decoders_reported(
                *(log, children, consumer, telemetry.background), settings.stalled_after_s / 4
            ),
        ):
            yield worker


def _breaker(dependency: str, settings: Settings) -> Breaker:
    """Return a closed breaker; processes do not share what they learn about the dependency."""
    return Breaker(dependency, failures=settings.breaker_failures, open_s=settings.breaker_open_s)


def bounds(kind: type[Bounds], settings: Settings) -> Bounds:
    """Fill a struct of bounds, each from the setting of the same name."""
    return kind(**{name: getattr(settings, name) for name in kind.__struct_fields__})
