"""Servers that speak TLS, with certificates of an authority that only their operators know."""

import ssl
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from ops.config.settings import Settings
from ops.errors import UserError
from ops.runtime.wiring import open_log
from tests.certificates import Certified, certify
from tests.ops.systems import System, jpeg, photolog
from tests.ports import free_ports
from tests.servers import ACCESS_KEY, DEBIAN_REDIS, SECRET_KEY, MinioServer, unavailable, valkey
from tests.system.clusters import SLOTS
from tests.system.hosts import host, main_job, settings_of


@pytest.fixture
def certified(own_folder: Path) -> Certified:
    return certify(own_folder / ".certs")


@pytest.fixture
def minio(
    own_folder: Path, certified: Certified, monkeypatch: pytest.MonkeyPatch
) -> Generator[MinioServer]:
    """With TLS; the environment names it."""
    with MinioServer(own_folder, certified) as server:
        monkeypatch.setenv("PHOTOLOG_S3_ENDPOINT", server.url)
        monkeypatch.setenv("PHOTOLOG_S3_ACCESS_KEY", ACCESS_KEY)
        monkeypatch.setenv("PHOTOLOG_S3_SECRET_KEY", SECRET_KEY)
        yield server


def test_photos_go_to_and_from_a_bucket_whose_authority_is_named(
    minio: MinioServer,
    certified: Certified,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PHOTOLOG_S3_CA_FILE", str(certified.authority))
    monkeypatch.setenv("PHOTOLOG_S3_LINKS", "true")
    picture = jpeg()
    file = tmp_path / "picture.jpg"
    file.write_bytes(picture)

    with System(data) as system:
        sent = system.photolog("upload", "--wait", str(file))
        assert sent.returncode == 0, sent.stderr
        token = system.photolog("token", "--client", "local").stdout.strip()
        path = f"{system.url}/api/photos/{sent.stdout.split()[0]}"
        asking = {"Authorization": f"Bearer {token}"}
        links = [
            httpx.get(f"{path}/{name}", headers=asking).headers["Location"]
            for name in ("original", "thumbnails/300")
        ]
        trusting = ssl.create_default_context(cafile=certified.authority)
        original, thumbnail = (httpx.get(link, verify=trusting) for link in links)
        assert system.photolog("health").returncode == 0
        assert system.photolog("reconcile").returncode == 0

    assert all(link.startswith(f"{minio.url}/") for link in links)
    assert original.content == picture
    assert (thumbnail.status_code, thumbnail.headers["Content-Type"]) == (200, "image/webp")


def started(data: Path) -> str:
    """What is said at the start, which fails."""
    ended = photolog("up", "--port", "0", "--data", str(data))
    assert ended.returncode != 0
    return ended.stderr


@pytest.mark.usefixtures("minio")
def test_a_certificate_that_nobody_vouches_for_ends_the_start(data: Path) -> None:
    assert "PHOTOLOG_S3_CA_FILE: https://127.0.0.1" in started(data)


@pytest.mark.usefixtures("minio")
def test_the_authority_of_another_server_ends_the_start(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = certify(tmp_path / "other")
    monkeypatch.setenv("PHOTOLOG_S3_CA_FILE", str(other.authority))

    assert "PHOTOLOG_S3_CA_FILE: https://127.0.0.1" in started(data)


def test_a_certificate_of_another_name_ends_the_start(
    minio: MinioServer, certified: Certified, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOTOLOG_S3_CA_FILE", str(certified.authority))
    monkeypatch.setenv("PHOTOLOG_S3_ENDPOINT", f"https://localhost:{minio.port}")

    assert "PHOTOLOG_S3_ENDPOINT: https://localhost" in started(data)


def test_http_where_the_server_speaks_tls_is_named(
    minio: MinioServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOTOLOG_S3_ENDPOINT", minio.url.replace("https:", "http:"))

    assert f"PHOTOLOG_S3_ENDPOINT: http://127.0.0.1:{minio.port} speaks TLS" in started(data)


@pytest.fixture
def one_node(own_folder: Path, certified: Certified) -> Generator[str]:
    """The URL of a cluster of one node, Debian's, with TLS."""
    if not Path(DEBIAN_REDIS).exists():
        unavailable(f"no {DEBIAN_REDIS}: apt-get install redis-server")
    [port] = free_ports(1)
    options = (
        *("--tls-port", str(port), "--tls-auth-clients", "no", "--tls-cluster", "yes"),
        *("--tls-cert-file", str(certified.certificate), "--tls-key-file", str(certified.key)),
        *("--tls-ca-cert-file", str(certified.authority), "--cluster-enabled", "yes"),
        *("--cluster-require-full-coverage", "no", "--requirepass", "secret"),
    )
    with valkey(own_folder, *options, binary=DEBIAN_REDIS) as url:
        untyped: Any = Redis
        with untyped.from_url(url, password="secret") as redis:
            redis.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            redis.execute_command("CONFIG", "SET", "cluster-announce-ip", "127.0.0.1")
        yield f"rediss+cluster://:secret@127.0.0.1:{port}"


async def test_the_main_job_runs_on_a_cluster_with_tls(
    one_node: str, certified: Certified, prefix: str, tmp_path: Path
) -> None:
    url = f"{one_node}?ssl_ca_certs={certified.authority}"

    async with host(settings_of(tmp_path / "host", url), prefix) as running:
        await main_job(running)


async def test_a_node_that_nobody_vouches_for_ends_the_start(one_node: str, prefix: str) -> None:
    with pytest.raises(UserError, match=r"^PHOTOLOG_REDIS_URL: .*certificate"):
        async with open_log(Settings(redis_url=one_node), patient=True, prefix=prefix):
            pass
