"""Settings can name the servers that measurements start."""

from functools import partial
from pathlib import Path

import anyio

from ops.bench import servers
from ops.bench.system import ALONE
from ops.config.loading import load
from ops.config.settings import Settings
from ops.runtime.wiring import open_blobs, open_log
from tests.servers import unavailable


def test_a_log_on_the_cluster_has_its_16_partitions(tmp_path: Path) -> None:
    async def look(settings: Settings) -> None:
        async with open_log(settings, create=True) as log:
            assert log.partitions == 16

    with servers.cluster() as environment:
        anyio.run(look, _settings(tmp_path, environment))


def test_photos_and_log_are_on_the_servers_outside(tmp_path: Path) -> None:
    async def use(settings: Settings) -> None:
        async with (
            open_log(settings, create=True) as log,
            open_blobs(settings, log, "bench") as blobs,
        ):
            await blobs.put("probes/one", b"x")
            assert await blobs.size("probes/one") == 1

    versitygw = servers.s3_binary()
    if versitygw is None:
        unavailable(servers.GET_S3)
        return
    with servers.outside(versitygw) as environment:
        anyio.run(partial(use, _settings(tmp_path, environment)))
    assert not (tmp_path / "blobs").exists()


def test_a_measurement_uses_no_servers_from_the_environment() -> None:
    assert load(ALONE).settings == Settings()


def _settings(folder: Path, environment: servers.Environment) -> Settings:
    return load({**environment, "PHOTOLOG_DATA": str(folder)}).settings
