"""The commands that do what the console does, on a running system."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.ops.systems import System, jpeg, run, wait_until

WHY = ("--reason", "a bad batch")


def photolog(system: System, *arguments: str) -> str:
    done = run("--data", str(system.data), *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def lines(system: System, *arguments: str) -> list[Any]:
    return [json.loads(line) for line in photolog(system, *arguments, "--json").splitlines()]


@pytest.fixture
def failed(shared_system: System, tmp_path: Path) -> dict[str, Any]:
    """Upload a file that no decoder can read; return its job."""
    path = tmp_path / "bad.jpg"
    path.write_bytes(jpeg()[:20] + path.name.encode() * 50 + jpeg()[-40:])
    (uploaded,) = lines(shared_system, "upload", str(path))
    found: list[Any] = []

    def has_failed() -> bool:
        photo = ("--photo", uploaded["photoId"], "--state", "failed")
        found[:] = lines(shared_system, "jobs", *photo)
        return bool(found)

    wait_until(has_failed, "the job has failed")
    return found[0]


def test_a_job_is_told_and_retried_with_a_reason_that_the_audit_lists(
    shared_system: System, failed: dict[str, Any]
) -> None:
    told = photolog(shared_system, "jobs", failed["jobId"])
    assert "validation" in told
    assert failed["traceId"] in told
    listed = photolog(shared_system, "jobs", "--photo", failed["photoId"]).splitlines()
    assert listed[0].split()[-3:] == ["Job", "Photo", "File"]
    assert listed[1].split()[-3:] == [failed["jobId"], failed["photoId"], "bad.jpg"]

    again = photolog(shared_system, "jobs", failed["jobId"], "--retry", "--priority", "2", *WHY)

    assert "continues" in again
    wait_until(
        lambda: len(lines(shared_system, "audit", "--photo", failed["photoId"])) == 1,
        "the retry is listed",
    )
    (entry,) = lines(shared_system, "audit", "--photo", failed["photoId"])
    assert (entry["what"], entry["reason"]) == ("photo.processing.requested", "a bad batch")
    assert entry["data"]["priority"] == 2
    assert "a bad batch" in photolog(shared_system, "audit", "--limit", "5")


def test_an_audit_without_a_match_says_how_actors_are_written(shared_system: System) -> None:
    told = photolog(shared_system, "audit", "--actor", "foo")

    assert told == (
        "There are no entries that match. An actor is a role and a name, such as operator:alice.\n"
    )


def test_a_pause_for_a_while_says_until_when(shared_system: System) -> None:
    paused = photolog(shared_system, "queues", "pause", "erasure", "--for", "1h", *WHY)
    resumed = photolog(shared_system, "queues", "resume", "erasure", *WHY)

    assert "erasure: paused until 20" in paused
    assert "erasure: running" in resumed


def test_the_running_settings_have_the_sources_that_up_was_started_with(
    shared_system: System,
) -> None:
    found = json.loads(photolog(shared_system, "config", "--running", "--json"))

    assert found["data"]["source"] != "default"
    assert found["page_limit_max"] == {"value": "200", "source": "default"}
    assert found["secret"]["value"] is None


@pytest.mark.parametrize(
    "arguments", [("--retry",), ("x", "--retry", "--cancel"), ("x", "--photo", "y")]
)
def test_contradictory_options_are_rejected(
    shared_system: System, arguments: tuple[str, ...]
) -> None:
    assert run("--data", str(shared_system.data), "jobs", *arguments).exit_code == 2
