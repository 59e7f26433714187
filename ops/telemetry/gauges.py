"""Gauges, read at each scrape: samples of ``ops.telemetry.metrics`` by metric."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ops.telemetry.metrics import Samples
from store.breaker import STATES

if TYPE_CHECKING:
    from gateway.observing import Look
    from gateway.webhooks.deliverer import Deliverer
    from handlers.decoder.pool import DecoderPool
    from handlers.worker.worker import Worker
    from ops.process.supervised_process import SupervisedProcess
    from store.archive.archiver import Archiver
    from store.breaker import Breaker


def of_gateway(look: "Look") -> dict[str, Samples]:
    elsewhere = look.elsewhere
    return {
        "photolog_uploads_in_progress": {(): look.uploads_in_progress},
        "websocket_connections_active": {(): look.connections["websocket"]},
        "photolog_room_connections": {(name,): n for name, n in look.connections.items()},
        "photolog_room_readers": {(kind,): n for kind, n in look.room_readers.items()},
        "photolog_room_deliveries_total": {(): look.deliveries},
        "photolog_room_catch_ups_total": {(): look.catch_ups},
        "photolog_room_overflows_total": {(): look.overflows},
        "photolog_room_slow_readers_total": {(): look.slow_readers},
        "photolog_room_failures_total": {(): look.failures},
        "event_delivery_duration_ms": {(): look.delays_ms},
        "photolog_connections": {
            ("active",): look.active_connections,
            ("idle",): look.open_connections - look.active_connections,
        },
        "photolog_connections_max": {(): look.connections_max},
        "photolog_connections_displaced_total": {(): look.connections_displaced},
        "photolog_connections_refused_total": {
            (bound,): n for bound, n in look.connections_refused.items()
        },
        **_of_breakers(look.breakers),
        "job_queue_size": elsewhere.queues,
        "storage_size_bytes": _known(elsewhere.stored_bytes),
        "photolog_open_uploads": _known(elsewhere.open_uploads),
        "photolog_open_upload_bytes": _known(elsewhere.open_upload_bytes),
        "photolog_dead_letters": {(stage,): n for stage, n in elsewhere.dead_letters.items()},
        "photolog_projection_lag_seconds": {
            (str(partition),): ms / 1000 for partition, ms in elsewhere.lag_ms.items()
        },
        "photolog_log_events": {
            (str(partition),): size.events for partition, size in elsewhere.logs.items()
        },
        "photolog_redis_memory_bytes": {
            (str(partition),): found.used_bytes for partition, found in elsewhere.memories.items()
        },
        "photolog_redis_memory_max_bytes": {
            (str(partition),): found.max_bytes for partition, found in elsewhere.memories.items()
        },
        "photolog_log_memory_bytes": {
            (str(partition),): size.memory_bytes
            for partition, size in elsewhere.logs.items()
            if size.memory_bytes is not None
        },
    }


def of_worker(
    worker: "Worker", children: "DecoderPool", breakers: "Iterable[Breaker]"
) -> dict[str, Samples]:
    return {
        **_of_breakers(breakers),
        "photolog_tasks_in_hand": {(): worker.in_hand},
        "photolog_task_takeovers_total": {(): worker.taken_over},
        "photolog_decoders_running": {(): children.running},
        "photolog_decoders_busy": {(): children.busy},
        "photolog_decoder_tasks_waiting": {(): children.waiting},
        "photolog_decoder_restarts_total": {(code,): n for code, n in children.restarts.items()},
    }


def of_archiver(archiver: "Archiver") -> dict[str, Samples]:
    return {"photolog_archive_failing": {(): len(archiver.failing)}}


def of_webhooks(deliverer: "Deliverer") -> dict[str, Samples]:
    report = deliverer.report
    return {
        "photolog_webhooks": {
            ("delivering",): deliverer.count - report.failing - report.unsigned,
            ("failing",): report.failing,
            ("unsigned",): report.unsigned,
        },
        "photolog_webhook_behind_seconds": {(): report.behind_ms / 1000},
    }


def of_system(processes: "Iterable[SupervisedProcess]") -> dict[str, Samples]:
    return {"photolog_role_restarts_total": {(each.name,): each.exits for each in processes}}


def _of_breakers(breakers: "Iterable[Breaker]") -> dict[str, Samples]:
    return {
        "circuit_breaker_state": {(each.name,): STATES.index(each.state) for each in breakers},
        "circuit_breaker_openings_total": {(each.name,): each.openings for each in breakers},
    }


def _known(value: float | None) -> Samples:
    return {} if value is None else {(): value}
