import pytest

from ops.bench import transfers
from tests.ops.bench.test_clusters import figures


def test_every_kind_of_transfer_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "LARGE_BYTES": 1_000_000,
        "PIECE_BYTES": 300_000,
        "SMALL_FILES": 20,
        "MISSED": 50,
        "PARALLEL": 4,
        "IDLE": 10,
    }.items():
        monkeypatch.setattr(transfers, name, value)

    transfers.run(rounds=1)

    found = figures(capsys.readouterr().out)
    for name in (
        *("in one request", "tus", "IETF draft", "raw hash and write"),
        *("uploads", "SSE", "WebSocket", "WebSocket, batches", "the bare server"),
    ):
        assert found[name] > 0
    assert "for each upload" in found
    assert "for each stream" in found
