"""How the image is built and what its containers run, tested without a container engine.

The steps of the Dockerfile that install Photolog are run in a folder, and the roles that compose
starts are run from there, on a Redis with the configuration that compose gives it, and on an S3
server. Addresses and folders are others.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from ops.process.embedded_valkey import valkey_binary
from tests.ops.deployment import (
    COMPOSE,
    DEPLOY,
    DOCKERFILE,
    ROLES,
    ROOT,
    SERVICES,
    environment_of,
    filled,
    image_environment,
    instructions,
    required,
)
from tests.ops.systems import DEADLINE_S, jpeg, wait_until
from tests.ports import free_port
from tests.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server

INSTALLED = "/opt/photolog"
VALUES = {
    name: f"{name.lower().replace('_', '')}{'0' * 32}"
    for name in required((DEPLOY / "compose.yaml").read_text())
} | {"S3_ACCESS_KEY": ACCESS_KEY, "S3_SECRET_KEY": SECRET_KEY}
INSTALL_S = 300.0

NOT_LISTENING = "no role listens on PHOTOLOG_PORT or PHOTOLOG_METRICS_PORT"

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``photolog`` as the Dockerfile installs it, in an environment of its own."""
    folder = tmp_path_factory.mktemp("image")
    source, target = folder / "src", folder / "opt"
    source.mkdir()
    build = DOCKERFILE.split("\nFROM ")[1]
    given = dict(re.findall(r"(UV_\w+)=(\S+)", build))
    assert given["UV_PROJECT_ENVIRONMENT"] == INSTALLED
    environment = os.environ | given | {"UV_PROJECT_ENVIRONMENT": str(target)}
    environment |= {"UV_PYTHON": sys.executable, "UV_COMPILE_BYTECODE": "0"}
    environment.pop("VIRTUAL_ENV", None)
    for instruction, rest in re.findall(r"^(COPY|RUN) (.+)$", build, re.MULTILINE):
        if instruction == "COPY":
            *names, to = rest.split()
            for name in names:
                copy(ROOT / name, source / to / name if to == "./" else source / to)
        elif rest.startswith("uv "):
            done = subprocess.run(
                ["bash", "-c", rest],
                cwd=source,
                env=environment,
                capture_output=True,
                text=True,
                timeout=INSTALL_S,
            )
            assert done.returncode == 0, f"{rest}: {done.stderr}"
    shutil.rmtree(source)  # the image does not contain it
    return target / "bin" / "photolog"


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


@pytest.fixture(scope="module")
def redis() -> Generator[Path]:
    """The socket of a server with its configuration from compose."""
    with tempfile.TemporaryDirectory(prefix="photolog-") as folder:
        path = Path(folder, "redis.sock")
        configuration = Path(folder, "redis.conf")
        given = filled(COMPOSE["configs"]["redis"]["content"], VALUES)
        assert given.startswith("dir /data\n")
        configuration.write_text(
            given.replace("dir /data", f"dir {folder}") + f"port 0\nunixsocket {path}\n"
        )
        server = subprocess.Popen(
            [str(valkey_binary()), str(configuration)], stdout=subprocess.DEVNULL
        )
        try:
            wait_until(path.exists, "the server has its socket")
            yield path
        finally:
            server.kill()
            server.wait()


def replies(path: Path, *commands: str) -> list[str]:
    """Return the server's answer to each command."""
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as answers:
        connection.settimeout(DEADLINE_S)
        connection.connect(str(path))
        found: list[str] = []
        for command in commands:
            connection.sendall(command.encode() + b"\r\n")
            found.append(answers.readline().decode().strip())
        return found


def test_redis_needs_a_password_and_limits_photologs_permissions(
    redis: Path,
) -> None:
    password = VALUES["REDIS_PASSWORD"]

    assert replies(redis, "PING")[0].startswith("-NOAUTH")
    signed_in, ping, flush, other, config = replies(
        redis,
        f"AUTH photolog {password}",
        "PING",
        "FLUSHALL",
        "SET other 1",
        "CONFIG GET maxmemory-policy",
    )
    assert (signed_in, ping) == ("+OK", "+PONG")
    for answer in (flush, other, config):
        assert answer.startswith("-NOPERM")
    admin = f"AUTH {VALUES['REDIS_ADMIN_PASSWORD']}"
    assert replies(redis, admin, "SAVE")[1] == "+OK"


@pytest.fixture
def start(program: Path, redis: Path, s3: S3Server) -> Generator[Start]:
    """Start a role as compose does, with further settings; it is ended after the test."""
    with ExitStack() as running, tempfile.TemporaryDirectory(prefix="photolog-") as folder:

        def begin(role: str, **settings: str) -> "subprocess.Popen[bytes]":
            # The gateway shares the projector's volume; a worker has its own.
            data = Path(folder, "worker" if role == "worker" else "shared")
            data.mkdir(exist_ok=True)
            environment = _environment(role, data, redis, s3) | settings
            command = [str(program), *SERVICES[role]["command"]]
            return running.enter_context(_running(command, environment))

        yield begin


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], pass_fds: tuple[int, ...] = ()
) -> "Generator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(command, env=environment, cwd="/", pass_fds=pass_fds)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _environment(role: str, data: Path, redis: Path, s3: S3Server) -> dict[str, str]:
    """Return a container's environment, from image and compose, with other addresses and paths."""
    given = image_environment() | environment_of(role, VALUES)
    url = given["PHOTOLOG_REDIS_URL"].removeprefix("redis://").removesuffix("@redis:6379")
    assert url == f"photolog:{VALUES['REDIS_PASSWORD']}"
    return {
        **given,
        "PATH": os.environ["PATH"],
        "PHOTOLOG_DATA": str(data),
        "PHOTOLOG_HOST": "127.0.0.1",
        "PHOTOLOG_METRICS_HOST": "127.0.0.1",
        "PHOTOLOG_REDIS_URL": f"unix://{url}@{redis}",
        "PHOTOLOG_S3_ENDPOINT": s3.url,
        "PHOTOLOG_PORT": str(free_port()),
        "PHOTOLOG_METRICS_PORT": str(free_port()),
    }


def health(environment: dict[str, str]) -> tuple[int, str]:
    """Return the exit status and the output of the image's health check."""
    line = instructions("HEALTHCHECK")[0]
    command: list[str] = yaml.safe_load(line[line.index("[") :])
    assert command[0] == "python"
    assert command[-1] == "/opt/healthy.py"
    assert f"{(DEPLOY / 'healthy.py').relative_to(ROOT)} /opt/healthy.py" in instructions("COPY")
    done = subprocess.run(
        [sys.executable, *command[1:-1], str(DEPLOY / "healthy.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    return done.returncode, done.stdout.strip()


def test_the_roles_of_the_image_process_a_photo_and_stop_at_a_signal(
    program: Path, start: Start, redis: Path, s3: S3Server, tmp_path: Path
) -> None:
    ports = {role: str(free_port()) for role in ROLES}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    for role in ("projector", "gateway", "worker"):
        own = {
            "PHOTOLOG_PORT": ports[role] if role == "gateway" else str(free_port()),
            "PHOTOLOG_METRICS_PORT": ports[role] if role != "gateway" else str(free_port()),
        }
        assert health(own) == (1, NOT_LISTENING)
        processes[role] = start(role, **own)
        wait_until(lambda own=own: health(own)[0] == 0, f"the {role} is well")
        assert health(own) == (0, f"port {ports[role]}: healthy")
    environment = _environment("gateway", tmp_path, redis, s3)
    token = photolog(program, environment, "token", "--client", "alice").strip()
    (tmp_path / "a.jpg").write_bytes(jpeg())

    url = f"http://127.0.0.1:{ports['gateway']}"
    photolog(
        program,
        environment | {"PHOTOLOG_TOKEN": token},
        *("upload", "--wait", "--url", url, str(tmp_path / "a.jpg")),
    )

    photos = httpx.get(f"{url}/api/photos", headers={"Authorization": f"Bearer {token}"})
    assert [photo["processingStatus"] for photo in photos.json()["items"]] == ["completed"]
    for role in ("gateway", "worker", "projector"):
        processes[role].terminate()
        assert processes[role].wait(DEADLINE_S) == 0


def photolog(program: Path, environment: dict[str, str], *arguments: str) -> str:
    """Return the output of the command."""
    done = subprocess.run(
        [str(program), *arguments],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_S,
    )
    assert done.returncode == 0, f"{shlex.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


def test_a_gateway_that_is_not_ready_is_unhealthy(start: Start) -> None:
    own = {"PHOTOLOG_PORT": str(free_port()), "PHOTOLOG_METRICS_PORT": str(free_port())}
    start("gateway", **own)  # without a projector there is no read model

    not_ready = f"port {own['PHOTOLOG_PORT']}: 503 "
    wait_until(lambda: health(own)[1].startswith(not_ready), "the gateway answers")

    assert health(own)[0] == 1


def test_two_gateways_share_a_socket_so_that_one_answers_while_the_other_restarts(
    program: Path, redis: Path, s3: S3Server, tmp_path: Path
) -> None:
    unit = (DEPLOY / "systemd" / "photolog-gateway@.service").read_text()
    line = re.findall(r"^ExecStart=/opt/photolog/bin/photolog (.+)$", unit, re.MULTILINE)[0]
    environment = _environment("gateway", tmp_path, redis, s3)
    outcomes: list[str] = []
    enough = threading.Event()

    def gateway(number: int) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        arguments = shlex.split(line.replace("%H", "host").replace("%i", str(number)))
        # As systemd passes it: as descriptor 3, whatever its number here.
        handed_on = ["bash", "-c", f'exec "$@" 3<&{listener.fileno()}', "bash"]
        return _running(
            [*handed_on, str(program), *arguments], environment, pass_fds=(listener.fileno(),)
        )

    def answers(number: int) -> bool:
        return (tmp_path / "metrics" / f"gateway-host-{number}").exists()

    def ask() -> None:
        while not enough.is_set():
            outcomes.append(asked(url))

    with (
        socket.create_server(("127.0.0.1", 0), backlog=2048) as listener,
        gateway(1) as first,
        gateway(2) as second,
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/health/live"
        wait_until(lambda: answers(1) and answers(2), "both answer")
        visitor = threading.Thread(target=ask, daemon=True)
        visitor.start()
        stop(first)
        with gateway(1):
            try:
                wait_until(lambda: answers(1), "the first answers again")
                stop(second)
                before = len(outcomes)
                wait_until(lambda: len(outcomes) > before + 10, "the new one answers alone")
            finally:
                enough.set()
                visitor.join()

    assert set(outcomes) == {"200"}


def asked(url: str) -> str:
    """Return the status, retrying once, as proxies do, if a gateway stopped before it read."""
    for _ in range(2):
        try:
            return str(httpx.get(url, timeout=DEADLINE_S).status_code)
        except httpx.RemoteProtocolError:
            continue
        except httpx.TransportError as error:
            return repr(error)
    return "broken off twice"


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    assert process.wait(DEADLINE_S) == 0
