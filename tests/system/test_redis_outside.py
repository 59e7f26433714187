"""Photos on an external server, with a user that has no more permissions than needed."""

import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from gateway.http.auth import Role
from ops.config.settings import Settings
from ops.errors import UserError
from ops.runtime.wiring import open_log
from store.redis.acl import acl
from store.redis.connection import connect
from tests.certificates import certify
from tests.conftest import unavailable
from tests.servers import DEBIAN_REDIS, valkey
from tests.system.hosts import host, main_job, settings_of


@pytest.fixture(params=["valkey", "redis"])
def binary(request: pytest.FixtureRequest) -> str | None:
    """Both servers in turn."""
    if request.param == "valkey":
        return None
    if not Path(DEBIAN_REDIS).exists():
        unavailable(f"no {DEBIAN_REDIS}: apt-get install redis-server")
    return DEBIAN_REDIS


async def test_the_main_job_needs_no_other_commands_and_keys(
    own_folder: Path, binary: str | None, prefix: str, tmp_path: Path
) -> None:
    with valkey(own_folder, binary=binary) as url:
        admin = connect(url)
        await admin.execute_command("ACL", "SETUSER", "photolog", "on", ">secret", *acl(prefix))
        settings = settings_of(
            tmp_path / "host", url.replace("unix://", "unix://photolog:secret@"), partitions=3
        )

        async with host(settings, prefix) as running:
            await main_job(running)
            async with running.client_of("operator", Role.OPERATOR) as http:
                for asked in ("/health", "/metrics", "/api/ops/queues"):
                    assert (await http.get(asked)).is_success
                for steered in ("pause", "resume"):
                    assert (await http.post(f"/api/ops/queues/metadata/{steered}")).is_success
            entries: Any = await admin.execute_command("ACL LOG")

        await admin.aclose()
        # The client library introduces itself if it has the permission.
        assert {each["object"] for each in entries} <= {"client|setinfo"}


async def test_a_wrong_password_ends_the_start_and_names_the_setting(own_folder: Path) -> None:
    with valkey(own_folder, "--requirepass", "secret") as url:
        settings = Settings(redis_url=url.replace("unix://", "unix://:wrong@"))

        with pytest.raises(UserError, match=r"^PHOTOLOG_REDIS_URL: Redis rejects the credentials"):
            async with open_log(settings, patient=True):
                pass


async def test_an_unsuitable_server_ends_the_start_and_names_the_setting(
    own_folder: Path, prefix: str
) -> None:
    with valkey(own_folder, "--maxmemory-policy", "volatile-ttl") as url:
        with pytest.raises(UserError, match=r"^PHOTOLOG_REDIS_URL: .*maxmemory-policy"):
            async with open_log(Settings(redis_url=url), patient=True, prefix=prefix):
                pass
        redis = connect(url)
        assert await redis.execute_command("DBSIZE") == 0
        await redis.aclose()


@pytest.fixture
def tls_url(own_folder: Path) -> Generator[str]:
    """Debian's server with TLS and a certificate of a private authority."""
    if not Path(DEBIAN_REDIS).exists():
        unavailable(f"no {DEBIAN_REDIS}: apt-get install redis-server")
    certified = certify(own_folder)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = ("--tls-port", str(port), "--tls-auth-clients", "no", "--requirepass", "secret")
    files = ("--tls-cert-file", str(certified.certificate), "--tls-key-file", str(certified.key))
    with valkey(own_folder, *options, *files, binary=DEBIAN_REDIS):
        yield f"rediss://:secret@127.0.0.1:{port}"


async def test_tls_needs_no_more_than_the_url(tls_url: str, own_folder: Path, prefix: str) -> None:
    trusting = f"{tls_url}?ssl_ca_certs={own_folder}/authority.pem"

    async with open_log(Settings(redis_url=trusting), create=True, prefix=prefix) as log:
        assert log.partitions == 1


async def test_an_untrusted_certificate_ends_the_start(tls_url: str, prefix: str) -> None:
    with pytest.raises(UserError, match=r"^PHOTOLOG_REDIS_URL: .*certificate"):
        async with open_log(Settings(redis_url=tls_url), patient=True, prefix=prefix):
            pass


async def test_two_systems_that_are_mixed_up_do_not_become_one(
    valkey_url: str, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path / "host", valkey_url)
    async with host(settings, prefix, workers=0):
        pass

    with pytest.raises(UserError, match="PHOTOLOG_DATA and PHOTOLOG_REDIS_URL") as error:
        async with host(settings, f"{prefix}-other", workers=0):
            pass

    assert "belong to two systems" in str(error.value)
    async with host(settings, prefix, workers=0):
        pass
