import pytest

from ops.bench import fanout
from tests.ops.bench.test_clusters import figures


def test_every_reader_gets_every_event_in_each_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "READERS", (3,))
    monkeypatch.setattr(fanout, "EVENTS", 60)
    monkeypatch.setattr(fanout, "PACED_S", 0.1)
    monkeypatch.setattr(fanout, "PACE", 600)

    fanout.run(rounds=1)

    found = figures(capsys.readouterr().out)
    for way in ("SSE", "WebSocket", "WebSocket, batches", "the bare server"):
        assert found[way] > 0
