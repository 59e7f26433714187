"""Servers with TLS and certificates of a private authority."""

import ssl
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from ops.config.settings import Settings
from ops.errors import UserError
from ops.runtime.blobs import open_store
from ops.runtime.wiring import open_log
from store.errors import Unavailable
from tests.certificates import Certified, certify
from tests.ops.systems import System, jpeg
from tests.ports import free_ports
from tests.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server, VersityServer
from tests.servers import DEBIAN_REDIS, unavailable, valkey
from tests.system.clusters import SLOTS
from tests.system.hosts import host, main_job, settings_of


@pytest.fixture(scope="module")
def certified(server_folder: Path) -> Certified:
    return certify(server_folder / "tls" / ".certs")


@pytest.fixture(scope="module")
def s3(server_folder: Path, certified: Certified) -> Generator[S3Server]:
    """A server with TLS."""
    with VersityServer(server_folder / "tls", certified) as server:
        yield server


def settings_for(server: S3Server, **others: Any) -> Settings:
    """Return settings that name the bucket ``photolog`` of the server."""
    given: dict[str, Any] = {"s3_endpoint": server.url, "s3_bucket": "photolog"} | others
    return Settings(s3_access_key=ACCESS_KEY, s3_secret_key=SECRET_KEY, **given)


@pytest.mark.usefixtures("one_decoder")
def test_photos_go_to_and_from_a_bucket_whose_authority_is_named(
    s3: S3Server,
    certified: Certified,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "ENDPOINT": s3.url,
        "ACCESS_KEY": ACCESS_KEY,
        "SECRET_KEY": SECRET_KEY,
        "CA_FILE": str(certified.authority),
        "LINKS": "true",
    }.items():
        monkeypatch.setenv(f"PHOTOLOG_S3_{name}", value)
    picture = jpeg()
    file = tmp_path / "picture.jpg"
    file.write_bytes(picture)

    with System(data, "--workers", "1") as system:
        sent = system.photolog("upload", "--wait", str(file))
        assert sent.returncode == 0, sent.stderr
        path = f"{system.url}/api/photos/{sent.stdout.split()[0]}"
        asking = system.login()
        links = [
            httpx.get(f"{path}/{name}", headers=asking).headers["Location"]
            for name in ("original", "thumbnails/300")
        ]
        trusting = ssl.create_default_context(cafile=certified.authority)
        original, thumbnail = (httpx.get(link, verify=trusting) for link in links)
        assert system.photolog("health").returncode == 0
        assert system.photolog("reconcile").returncode == 0

    assert all(link.startswith(f"{s3.url}/") for link in links)
    assert original.content == picture
    assert (thumbnail.status_code, thumbnail.headers["Content-Type"]) == (200, "image/webp")


async def refusal(settings: Settings) -> str:
    """Return the message with which a start ends that uses these settings."""
    with pytest.raises(UserError) as refused:
        async with open_store(settings, "up"):
            pass
    return str(refused.value)


async def test_an_untrusted_certificate_ends_the_start(s3: S3Server) -> None:
    told = await refusal(settings_for(s3))

    assert "PHOTOLOG_S3_CA_FILE: https://127.0.0.1" in told


async def test_the_authority_of_another_server_ends_the_start(s3: S3Server, tmp_path: Path) -> None:
    other = certify(tmp_path / "other")

    told = await refusal(settings_for(s3, s3_ca_file=str(other.authority)))

    assert "PHOTOLOG_S3_CA_FILE: https://127.0.0.1" in told


async def test_a_certificate_of_another_name_ends_the_start(
    s3: S3Server, certified: Certified
) -> None:
    told = await refusal(
        settings_for(
            s3,
            s3_ca_file=str(certified.authority),
            s3_endpoint=f"https://localhost:{s3.port}",
        )
    )

    assert "PHOTOLOG_S3_ENDPOINT: https://localhost" in told


async def test_http_where_the_server_speaks_tls_is_named(s3: S3Server) -> None:
    endpoint = s3.url.replace("https:", "http:")

    with pytest.raises(Unavailable, match="if the server uses TLS, write https://"):
        async with open_store(settings_for(s3, s3_endpoint=endpoint), "up"):
            pass


@pytest.fixture
def one_node(own_folder: Path, certified: Certified) -> Generator[str]:
    """The URL of a cluster of one node, Debian's server, with TLS."""
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


async def test_a_node_with_an_untrusted_certificate_ends_the_start(
    one_node: str, prefix: str
) -> None:
    with pytest.raises(UserError, match=r"^PHOTOLOG_REDIS_URL: .*certificate"):
        async with open_log(Settings(redis_url=one_node), patient=True, prefix=prefix):
            pass
