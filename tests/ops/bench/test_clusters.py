"""The measurements on clusters run, and print their figures."""

import re

import anyio
import pytest

from ops.bench import failover, replicas, servers, watchers


def figures(printed: str) -> dict[str, float]:
    """Return the median of each row, by its name."""
    rows = re.findall(r"^  (\S.*?) {2,}([\d,.]+)(?: |$)", printed, re.MULTILINE)
    return {name: float(figure.replace(",", "")) for name, figure in rows}


def test_appends_are_measured_with_and_without_waiting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "WRITERS", (2,))
    monkeypatch.setattr(replicas, "APPENDS", {2: 40})

    replicas.run(rounds=1)

    found = figures(capsys.readouterr().out)
    for way in ("not waiting", "waiting for a replica"):
        assert 0 < found[f"{way}, median"] <= found[f"{way}, p99"]
        assert found[f"{way}, throughput"] > 0
    assert found["throughput, waiting to not waiting"] > 0


def test_a_failover_is_measured_up_to_the_next_accepted_upload(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failover.run(rounds=1)

    found = figures(capsys.readouterr().out)
    assert found["until a replica has taken its place"] > 0
    assert found["until an upload is accepted"] > 0


def test_events_shown_are_measured_with_and_without_waiting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers, "WATCHERS", 2)
    monkeypatch.setattr(watchers, "EVENTS", 200)

    watchers.run(rounds=1)

    found = figures(capsys.readouterr().out)
    for way in ("not waiting", "waiting for a replica"):
        assert found[f"{way}, events shown to all"] > 0


def test_a_node_that_was_killed_comes_back_as_a_replica() -> None:
    with servers.replicated(1) as cluster:
        cluster.nodes[0].kill()
        cluster.nodes[0].start()

        anyio.run(cluster.wait_until_complete)
