import pytest

from ops.bench import upload
from tests.ops.bench.test_clusters import figures


def test_an_upload_is_compared_with_a_raw_write(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "SIZE_BYTES", 1_000_000)
    monkeypatch.delenv("PHOTOLOG_S3_ENDPOINT", raising=False)

    upload.run(rounds=1)

    found = figures(capsys.readouterr().out)
    assert found["upload"] > 0
    assert found["raw hash and write"] > 0
