from pathlib import Path

import pytest

from ops.bench import archive
from store.blobs.s3_server import Server
from tests.ops.bench.test_clusters import figures
from tests.ops.systems import jpeg


def test_a_log_is_sealed_trimmed_and_read_back_in_a_folder_and_a_bucket(
    bucket: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PHOTOLOG_S3_ENDPOINT", bucket.endpoint)
    monkeypatch.setenv("PHOTOLOG_S3_ACCESS_KEY", bucket.access_key)
    monkeypatch.setenv("PHOTOLOG_S3_SECRET_KEY", bucket.secret_key)
    (tmp_path / "photo.jpg").write_bytes(jpeg())

    archive.run(1, 20, tmp_path)

    _, in_folder, in_bucket = capsys.readouterr().out.split("The archive in a ")
    for printed in (in_folder, in_bucket):
        found = figures(printed)
        assert found["sealing"] > 0
        assert found["rebuild from the archive"] > 0
        assert found["stream afterwards, for each photo"] < found["stream before, for each photo"]
