"""Roles as processes without a supervisor."""

import os
import random
import signal
import subprocess
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import httpx
import pytest
from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError

from handlers.parent_death import bound_to_parent
from ops.config.settings import Settings
from ops.errors import UserError
from ops.process.embedded_valkey import Valkey
from ops.runtime import wiring
from store.errors import Unavailable
from tests.ops.systems import DEADLINE_S, PHOTOLOG, System, run, wait_until
from tests.ports import free_port
from tests.servers import valkey

STARTING = "waiting for the gateway to be ready"
"""What `up` may log on a slow machine."""


@contextmanager
def _role(data: Path, role: str, **settings: str) -> "Generator[subprocess.Popen[bytes]]":
    """Run a role; its standard error goes to ``<role>.log`` beside the data folder."""
    environment = {f"PHOTOLOG_{name.upper()}": value for name, value in settings.items()}
    with (data.parent / f"{role}.log").open("wb") as log:
        process = subprocess.Popen(
            [*PHOTOLOG, role, "--data", str(data)], stderr=log, env=os.environ | environment
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


ROLES = ("gateway", "projector", "worker", "archiver")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_waits_for_redis_logs_it_once_and_stops_at_a_signal(data: Path, role: str) -> None:
    log = data.parent / f"{role}.log"
    nowhere = f"unix://{data.parent}/none.sock"
    with _role(data, role, redis_url=nowhere, port="0", decoders="1") as process:
        wait_until(lambda: "waiting for Redis" in log.read_text(), "it says that it waits")

        process.terminate()

        assert process.wait(DEADLINE_S) == 0
    assert log.read_text().count("\n") == 1


TEMPORARY = {
    "a server that is a replica": "the server is a replica",
    "a server that loads its data": "loading the dataset",
    "a name that is not known": "Redis did not answer",
    "a cluster without slots": "no node of the cluster knows which node has its slots",
}


@pytest.fixture(params=TEMPORARY)
def temporary(
    request: pytest.FixtureRequest, own_folder: Path
) -> Generator[tuple[str, str, Callable[[], None]]]:
    """The URL of a server that is unusable for now, what a role logs, and how it recovers."""
    port = free_port()
    url, tcp = f"redis://127.0.0.1:{port}", ("--port", str(port), "--bind", "127.0.0.1")
    reason = TEMPORARY[request.param]
    server = partial(valkey, own_folder, *tcp)

    def tell(*command: str) -> Callable[[], None]:
        def run() -> None:
            with Redis(port=port) as redis:
                untyped: Any = redis
                untyped.execute_command(*command)

        return run

    with ExitStack() as stack:
        match request.param:
            case "a server that is a replica":
                stack.enter_context(server("--replicaof", "127.0.0.1 9"))
                yield url, reason, tell("REPLICAOF", "NO", "ONE")
            case "a server that loads its data":
                often = "--loading-process-events-interval-bytes", "1024"
                stack.enter_context(server("--enable-debug-command", "yes", *often))
                for number in range(300):
                    tell("SET", f"key-{number}", random.randbytes(2048).hex())()
                tell("CONFIG", "SET", "key-load-delay", "100000")()
                loading = Thread(target=suppressed(tell("DEBUG", "RELOAD")), daemon=True)
                loading.start()
                wait_until(lambda: is_loading(port), "the server loads its data")
                yield url, reason, tell("CONFIG", "SET", "key-load-delay", "0")
            case "a name that is not known":
                yield url.replace("127.0.0.1", "nobody.invalid"), reason, lambda: None
            case _:
                stack.enter_context(server("--cluster-enabled", "yes"))
                fill = tell("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
                yield url.replace("redis:", "redis+cluster:"), reason, fill


def is_loading(port: int) -> bool:
    with Redis(port=port) as redis:
        try:
            redis.ping()  # pyright: ignore[reportUnknownMemberType] # untyped
        except BusyLoadingError:
            return True
    return False


def suppressed(work: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with suppress(RedisError):
            work()

    return run


async def test_a_role_waits_for_a_temporary_problem_and_logs_it(
    data: Path,
    temporary: tuple[str, str, Callable[[], None]],
    caplog: pytest.LogCaptureFixture,
    prefix: str,
) -> None:
    url, reason, heal = temporary
    settings = Settings(data=str(data), redis_url=url)

    async def says() -> None:
        while reason not in caplog.text:
            await anyio.sleep(0.05)

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            joined = anyio.Event()

            async def join() -> None:
                async with wiring.open_log(settings, patient=True, prefix=prefix):
                    joined.set()

            tasks.start_soon(join)
            await says()
            assert "waiting for Redis" in caplog.text
            with pytest.raises(Unavailable, match=reason):
                async with wiring.open_log(settings):
                    pass
            heal()
            if "invalid" in url:
                tasks.cancel_scope.cancel()
            else:
                await joined.wait()


async def test_a_permanent_replica_ends_a_role_and_its_master_is_named(
    data: Path, own_folder: Path
) -> None:
    with valkey(own_folder, "--replicaof", "127.0.0.1 9") as url:
        settings = Settings(data=str(data), redis_url=url, failover_wait_s=0.2)

        with (
            anyio.fail_after(DEADLINE_S),
            pytest.raises(UserError, match=r"PHOTOLOG_FAILOVER_WAIT_S.* 127\.0\.0\.1:9"),
        ):
            async with wiring.open_log(settings, patient=True):
                pass


WRONG = [
    ({"s3_endpoint": "http://127.0.0.1:1"}, "PHOTOLOG_S3_ACCESS_KEY is unset"),
    ({"s3_access_key": "photolog"}, "PHOTOLOG_S3_ENDPOINT is unset"),
    ({"redis_url": "redis://:pa/ss@127.0.0.1:6379"}, "PHOTOLOG_REDIS_URL has no valid port"),
    ({"redis_url": "redis+cluster://h:1,h:many"}, "PHOTOLOG_REDIS_URL has no valid port"),
]
OF_A_SYSTEM = [
    ({"metrics_port": "65534"}, "PHOTOLOG_METRICS_PORT must be at most "),
    ({"append_wait_replicas": "1"}, "PHOTOLOG_APPEND_WAIT_REPLICAS is 1, but"),
]


@pytest.mark.parametrize(
    ("role", "settings", "message"),
    [
        *(
            (role, *each)
            for role in ("gateway", "projector", "worker", "archiver")
            for each in WRONG
        ),
        *(("up", *each) for each in [*WRONG, *OF_A_SYSTEM]),
        *(("reconcile", *each) for each in WRONG[:1]),
    ],
)
def test_contradictory_settings_end_a_role_at_its_start(
    data: Path, role: str, settings: dict[str, str], message: str
) -> None:
    variables = {f"PHOTOLOG_{name.upper()}": value for name, value in settings.items()}

    shown = run(role, "--data", str(data), PHOTOLOG_PORT="0", **variables)

    assert shown.exit_code == 1
    assert shown.stderr.splitlines()[-1].startswith(f"Error: {message}")
    assert "waiting for" not in shown.stderr
    assert not data.exists()


def test_roles_find_each_other_without_a_supervisor(data: Path, valkey_url: str) -> None:
    port = str(free_port())
    url = f"http://127.0.0.1:{port}/health/ready"
    with (
        _role(data, "projector", redis_url=valkey_url) as projector,
        _role(data, "gateway", redis_url=valkey_url, port=port) as gateway,
    ):
        wait_until(lambda: _answers(url), "the gateway is ready")

        for process in (gateway, projector):
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == 0
    logs = {role: (data.parent / f"{role}.log").read_text() for role in ("projector", "gateway")}
    assert all(f"opened the log at {valkey_url}, partitions: 1\n" in text for text in logs.values())
    assert f"listening at http://127.0.0.1:{port}\n" in logs["gateway"]
    assert logs["projector"].count("\n") == 1
    assert "the log is on one server without a replica" in logs["gateway"]
    assert logs["gateway"].count("\n") == 3


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_up_uses_an_external_redis_and_the_requested_number_of_workers(
    data: Path, valkey_url: str
) -> None:
    with System(
        data, "--workers", "2", settings={"redis_url": valkey_url, "decoders": "1"}
    ) as system:
        lines = [line for line in system.log.read_text().splitlines() if STARTING not in line]
        roles = {role: system.pid_of(role) for role in ("valkey", "worker-1", "worker-2")}
        assert system.stop() == 0

    [risk] = lines
    assert "WARNING PHOTOLOG_APPEND_WAIT_REPLICAS: the log is on one server without a rep" in risk
    assert roles["valkey"] is None
    assert roles["worker-1"] is not None
    assert roles["worker-2"] is not None
    assert not (data / "valkey").exists()


async def test_a_command_does_not_wait_for_redis(data: Path) -> None:
    settings = Settings(data=str(data))

    with pytest.raises(Unavailable, match=r"PHOTOLOG_DATA, or .* PHOTOLOG_REDIS_URL"):
        async with wiring.open_log(settings):
            pass


async def test_an_unavailable_server_is_named_with_its_setting(data: Path) -> None:
    settings = Settings(data=str(data), redis_url=f"unix://{data}/nobody.sock")

    with pytest.raises(Unavailable, match=r"^PHOTOLOG_REDIS_URL: Redis did not answer"):
        async with wiring.open_log(settings):
            pass


async def test_a_patient_caller_gets_the_log_as_soon_as_redis_answers(data: Path) -> None:
    valkey = Valkey(data / "valkey")
    command = valkey.prepare()
    settings = Settings(data=str(data), partitions=3)
    process = subprocess.Popen(bound_to_parent(command))
    try:
        async with wiring.open_log(settings, patient=True) as log:
            assert log.partitions == 3
    finally:
        process.kill()
        process.wait()
