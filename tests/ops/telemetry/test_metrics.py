"""The roles of a running system serve exactly the metrics of ``ops.telemetry.metrics``."""

import os
import re
import signal
from pathlib import Path

import httpx
import pytest
from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from syrupy.assertion import SnapshotAssertion

from domain.photo.events import EVENT_TYPES
from domain.pipeline.failures import Category
from domain.pipeline.stages import ERASURE, LANES, TREE
from ops.telemetry.metrics import METRICS, Metrics
from store.histogram import Distribution
from tests.ops.systems import System, jpeg, wait_until
from tests.ports import free_port

ROLES = {
    "gateway": "gateway",
    "projector": "projector",
    "worker-1": "worker",
    "archiver": "archiver",
    "webhooks": "webhooks",
    "up": "up",
}

STAGES = {*TREE, ERASURE}

BOUNDED: dict[str, set[str]] = {
    "stage": STAGES,
    "lane": set(LANES),
    "outcome": {"completed", "failed", "lost", "interrupted", "ok", "missing", "unavailable"},
    "category": {category.value for category in Category},
    "operation": {"put", "get", "stat", "list", "delete"},
    "type": set(EVENT_TYPES),
    "partition": {"0"},
    "transport": {"sse", "websocket"},
    "kind": {"client", "session", "photo", "global"},
    "role": {"valkey", "gateway", "projector", "worker-1", "archiver", "webhooks"},
    "method": {"GET", "POST"},
    "dependency": {"redis", "blobs"},
    "state": {"active", "idle", "delivering", "failing", "unsigned"},
    "bound": {"total", "address", "client"},
    "task": set(),
    "reason": {"decode-timeout", "decoder-died", "out-of-memory"},
}


@pytest.fixture(scope="module")
def shared_system(module_system: System) -> System:
    """A system for these tests alone, which read its counters."""
    return module_system


@pytest.fixture(scope="module")
def worked(shared_system: System) -> System:
    """A system that has processed a good and a bad photo, and rejected an intruder."""
    good, bad = shared_system.data.parent / "good.jpg", shared_system.data.parent / "bad.jpg"
    good.write_bytes(jpeg())
    bad.write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    shared_system.photolog("upload", "--wait", str(good), str(bad))
    for path in ("/wp-admin.php", "/api/photos/6f1c1d7c-1111-4222-8333-123456789abc"):
        httpx.get(f"{shared_system.url}{path}")
    return shared_system


def url_of(system: System, role: str) -> str:
    return (system.data / "metrics" / role).read_text().strip()


def served(system: System, role: str) -> dict[str, Family]:
    """Return the served families by their names in ``METRICS``."""
    text = httpx.get(url_of(system, role)).raise_for_status().text
    families = list(text_string_to_metric_families(text))
    return {f"{each.name}{'_total' * (each.type == 'counter')}": each for each in families}


def test_every_metric_has_a_name_of_its_own_and_a_meaning(snapshot: SnapshotAssertion) -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert all(metric.meaning.endswith(".") for metric in METRICS)
    assert [(m.name, m.kind, m.labels, m.roles) for m in METRICS] == snapshot


@pytest.mark.parametrize("name", ROLES)
def test_a_role_serves_exactly_what_is_described(worked: System, name: str) -> None:
    families = served(worked, name)

    described = {metric.name: metric for metric in METRICS if ROLES[name] in metric.roles}
    assert families.keys() == described.keys()
    for each, family in families.items():
        metric = described[each]
        assert (family.type, family.documentation) == (metric.kind, metric.meaning), each
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(metric.labels), each


def test_every_metric_has_a_value_once_there_was_work(worked: System) -> None:
    empty = {
        (name, each)
        for name in ROLES
        for each, found in served(worked, name).items()
        if not found.samples
    }

    assert empty == {
        *((name, "photolog_background_failures_total") for name in ROLES),
        ("worker-1", "photolog_decoder_restarts_total"),
        ("gateway", "job_failures_total"),
        ("gateway", "photolog_rate_limited_total"),
        ("webhooks", "photolog_webhook_attempts_total"),
    }


def test_labels_hold_only_fixed_words(worked: System) -> None:
    for name in ROLES:
        for each, family in served(worked, name).items():
            for sample in family.samples:
                for label, value in sample.labels.items():
                    if label in BOUNDED:
                        assert value in BOUNDED[label], (each, label)
                    elif label == "route":
                        assert re.fullmatch(r"(/[a-z.-]+|/\{[a-z_:]+\})*|/", value), value
                    else:
                        assert label in ("le", "status"), (each, label)


def test_the_processing_of_photos_is_counted(worked: System) -> None:
    families = served(worked, "worker-1")

    def count(name: str, **labels: str) -> float:
        family = families[name]
        found = [each.value for each in family.samples if labels.items() <= each.labels.items()]
        return found[0] if found else 0

    assert count("job_failures_total", stage="validation", category="data") == 1
    runs = families["job_processing_duration_ms"].samples
    totals = {
        (each.labels["stage"], each.labels["outcome"]): each.value
        for each in runs
        if each.name.endswith("_count")
    }
    assert totals == {(stage, "completed"): 1 for stage in TREE} | {("validation", "failed"): 1}
    assert count("events_published_total", type="photo.processing.completed") == 1
    projected = served(worked, "projector")["photolog_projector_events_total"].samples[0].value
    assert projected == served(worked, "gateway")["photolog_log_events"].samples[0].value


def test_all_roles_but_the_gateway_listen_on_the_loopback_alone(worked: System) -> None:
    for name in ROLES:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", url_of(worked, name))
    folder = worked.data / "metrics"
    assert sorted(file.name for file in folder.iterdir()) == sorted(ROLES)


def test_a_killed_role_is_counted_and_its_metrics_are_served_again(system: System) -> None:
    before = url_of(system, "projector")
    os.kill(system.pid_of("projector") or 0, signal.SIGKILL)

    wait_until(lambda: url_of(system, "projector") != before, "the projector has a new URL")

    restarts = served(system, "up")["photolog_role_restarts_total"].samples
    assert {each.labels["role"]: each.value for each in restarts} == {
        "valkey": 0,
        "projector": 1,
        "worker-1": 0,
        "archiver": 0,
        "webhooks": 0,
        "gateway": 0,
    }
    assert system.stop() == 0
    assert list((system.data / "metrics").iterdir()) == []


def test_the_metrics_port_setting_is_the_first_of_several(data: Path) -> None:
    port = free_port()

    with System(data, settings={"decoders": "1", "metrics_port": str(port)}) as system:
        for offset, role in enumerate(("up", "projector", "worker-1", "archiver", "webhooks")):
            assert url_of(system, role) == f"http://127.0.0.1:{port + offset}/metrics"
            assert served(system, role)
        assert url_of(system, "gateway") == f"{system.url}/metrics"


def test_only_described_metrics_can_be_exposed() -> None:
    with pytest.raises(KeyError):
        Metrics("up").exposition({"job_queue_size": {("validation", "high"): 1}})


def test_a_bucket_counts_values_up_to_and_including_its_bound() -> None:
    found = Distribution((1, 10))

    for value in (0, 1, 1.5, 10, 11):
        found.add(value)

    assert (found.counts, found.total) == ([2, 2, 1], 23.5)
