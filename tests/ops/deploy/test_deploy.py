"""The files of ``ops/deploy`` and the guide agree with the code; see ``test_monitoring`` too."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from ops.bench.servers import GET_S3
from ops.config.loading import CLIENT_VARIABLES, load
from ops.config.settings import Settings, variable_of
from store.redis.acl import ON_A_CLUSTER, TO_WAIT, acl
from tests.ops.deployment import (
    COMPOSE,
    DEPLOY,
    GUIDE,
    ROLES,
    ROOT,
    SERVICES,
    UNITS,
    blocks,
    commands_in_guide,
    commands_started,
    environment_of,
    image_environment,
    instructions,
    parse,
    required,
)

SETTINGS = {variable_of(name) for name in Settings.__struct_fields__} | CLIENT_VARIABLES
REDIS: str = COMPOSE["configs"]["redis"]["content"]
VALUES = dict.fromkeys(required((DEPLOY / "compose.yaml").read_text()), "x" * 40)

INSTALLING = ("README.md", ".github/CONTRIBUTING.md")
"""Where people read what the tests need."""


def test_a_command_of_the_guide_has_the_settings_of_the_roles(tmp_path: Path) -> None:
    block = next(each for each in blocks(GUIDE) if "photolog.env\n" in each and "runuser" in each)
    given = (DEPLOY / "systemd" / "photolog.env").read_text()
    own = {
        "PHOTOLOG_REDIS_URL": "rediss://photolog:a@h:6379?ssl_ca_certs=/own.pem&db=0",
        "PHOTOLOG_S3_ENDPOINT": "http://127.0.0.1:9000",
    }
    for name, value in own.items():
        assert f"\n{name}=\n" in given
        given = given.replace(f"\n{name}=\n", f'\n{name}="{value}"\n')
    file = tmp_path / "photolog.env"
    file.write_text(given)
    command = block.replace("/etc/photolog/photolog.env", str(file)).replace(
        "runuser -u photolog -- /opt/photolog/bin/photolog queues",
        f"{shlex.quote(sys.executable)} -P -m ops.cli.main config --json",
    )
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}

    shown = subprocess.run(
        ["sh", "-euc", command], capture_output=True, text=True, check=True, env=clean
    )

    found = {variable_of(name): each for name, each in json.loads(shown.stdout).items()}
    for name in ("PHOTOLOG_S3_ENDPOINT", "PHOTOLOG_REDIS_URL", "PHOTOLOG_DATA"):
        assert found[name]["source"] == f"environment {name}"
    assert found["PHOTOLOG_S3_ENDPOINT"]["value"] == own["PHOTOLOG_S3_ENDPOINT"]
    assert found["PHOTOLOG_REDIS_URL"]["value"].endswith("&db=0")
    assert found["PHOTOLOG_S3_ACCESS_KEY"]["source"] == "default"


def test_prometheus_scrapes_each_role_at_its_compose_address() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    environment = image_environment()

    found = {
        (each["job_name"], *asked["names"], str(asked["port"]))
        for each in scraped["scrape_configs"]
        for asked in each["dns_sd_configs"]
    }

    ports = {"gateway": environment["PHOTOLOG_PORT"]}
    assert found == {
        (role, role, ports.get(role, environment["PHOTOLOG_METRICS_PORT"])) for role in ROLES
    }
    assert environment["PHOTOLOG_METRICS_HOST"] == "0.0.0.0"


@pytest.mark.parametrize("arguments", [*commands_started(), *commands_in_guide()], ids=shlex.join)
def test_the_command_line_accepts_each_documented_command(arguments: list[str]) -> None:
    parse(arguments)


@pytest.mark.parametrize(
    "wrong", ["gatway", "worker --consumers 3", "queues pause", "token --tll 1d"]
)
def test_an_invalid_command_is_detected(wrong: str) -> None:
    with pytest.raises(click.UsageError):
        parse(shlex.split(wrong))


@pytest.mark.parametrize(
    "path",
    [*(path for path in DEPLOY.rglob("*") if path.is_file()), ROOT / "ops/guides/operating.md"],
    ids=lambda path: path.name,
)
def test_each_variable_is_an_existing_setting(path: Path) -> None:
    named = set(re.findall(r"\bPHOTOLOG_[A-Z0-9_]+\b(?!…)", path.read_text("utf-8")))

    assert named - SETTINGS == set()


@pytest.mark.parametrize("role", ROLES)
def test_the_settings_of_a_container_are_accepted(role: str) -> None:
    given = image_environment() | environment_of(role, VALUES)

    found = load(given)

    assert found.unknown == ()
    assert found.settings.host == "0.0.0.0"
    assert found.settings.redis_url == f"redis://photolog:{'x' * 40}@redis:6379"


@pytest.mark.parametrize("text", [REDIS, GUIDE], ids=["compose", "guide"])
def test_the_redis_user_has_exactly_the_needed_permissions(text: str) -> None:
    rules = re.findall(r"^user photolog on >(?:\$\{[^}]*\}|PASSWORD) (.+)$", text, re.MULTILINE)

    assert rules == [" ".join(acl())]


def test_the_guide_names_additional_permissions() -> None:
    assert f"`{' '.join(f'+{command}' for command in TO_WAIT)}`" in GUIDE
    assert f"`{' '.join(f'+{command}' for command in ON_A_CLUSTER)}`" in GUIDE


def test_no_secret_has_a_default() -> None:
    secret = re.compile(r"SECRET|PASSWORD|AUTH|ACCESS_KEY|ROOT_USER")
    values = {
        name: value
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if secret.search(name)
    }

    assert len(values) >= 6
    for name, value in values.items():
        assert re.fullmatch(r"\$\{\w+:(\?[^}]+|-)\}", value), name  # required, or unset
    in_redis = re.findall(r" >(\S+)", re.sub(r"\s(?=[^{}]*\})", "_", REDIS))
    assert len(in_redis) == 2
    for value in in_redis:
        assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value)


def test_the_guide_generates_every_secret_that_compose_requires() -> None:
    drawn = set(re.findall(r"^([A-Z0-9_]+)=", GUIDE, re.MULTILINE))

    assert VALUES.keys() <= drawn


def test_a_service_waits_only_for_services_with_a_health_check() -> None:
    waits = [
        (service, other, how["condition"])
        for service, each in SERVICES.items()
        for other, how in each.get("depends_on", {}).items()
    ]

    assert {(service, other) for service, other, _ in waits} == {
        *((role, store) for role in ROLES for store in ("redis", "s3")),
        ("gateway", "projector"),
        ("prometheus", "gateway"),
        ("grafana", "prometheus"),
    }
    for _, other, condition in waits:
        assert condition == "service_healthy"
        of_the_image = "build" in SERVICES[other] and instructions("HEALTHCHECK")
        assert of_the_image or "test" in SERVICES[other]["healthcheck"]


def test_the_services_and_their_published_ports() -> None:
    ports = {
        service: [re.sub(r"^.*?:(?=\d+:\d+$)", "", port) for port in each.get("ports", ())]
        for service, each in SERVICES.items()
    }

    assert ports == {
        "redis": ["6379:6379"],
        "s3": ["7070:7070"],
        "gateway": ["3000:3000"],
        "projector": [],
        "archiver": [],
        "webhooks": [],
        "worker": [],
        "prometheus": ["9090:9090"],
        "grafana": ["3001:3000"],
    }
    assert SERVICES["worker"]["deploy"]["replicas"] == 3
    for service, each in SERVICES.items():
        for port in each.get("ports", ()):
            assert port.startswith("127.0.0.1:") or service == "gateway"


def test_compose_runs_the_s3_server_of_the_tests() -> None:
    image: str = SERVICES["s3"]["image"]
    version = image.removesuffix("}").rpartition(":")[2]

    assert re.fullmatch(r"v\d+\.\d+\.\d+", version)
    assert f"versitygw={version}\n" in (ROOT / ".ci" / "run").read_text("utf-8")
    for told in (GET_S3, *((ROOT / name).read_text("utf-8") for name in INSTALLING)):
        assert re.findall(r"cmd/versitygw@([\w.]+)", told) == [version]


@pytest.mark.parametrize("role", ROLES)
def test_a_container_has_no_unnecessary_privileges(role: str) -> None:
    service = SERVICES[role]

    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    user = instructions("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_a_container_gets_enough_time_to_stop() -> None:
    patience_s = {
        role: int(SERVICES[role]["stop_grace_period"].removesuffix("s")) for role in ROLES
    }
    defaults = Settings()

    assert patience_s["gateway"] > defaults.drain_s
    assert patience_s["worker"] > defaults.worker_drain_s


def test_everything_that_compose_mounts_exists() -> None:
    mounted = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
    ]

    for source in mounted:
        if source.startswith("."):
            assert (DEPLOY / source).exists(), source
        else:
            assert source in COMPOSE["volumes"]
    build = SERVICES["gateway"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_the_image_contains_every_package() -> None:
    sources = {
        source
        for line in instructions("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    }
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert all((ROOT / source).exists() for source in sources)
    for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        assert package in sources
    for source in sources:
        assert f"!{source.split('/')[0]}" in ignored, source


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_a_unit(unit: Path, tmp_path: Path) -> None:
    copy = installed(tmp_path)
    name = unit.name.replace("@.", "@1.")

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy / name)], capture_output=True, text=True
    )

    complaints = [
        line for line in done.stderr.splitlines() if str(copy) in line or "photolog" in line
    ]
    assert (done.returncode, complaints) == (0, [])


@pytest.mark.parametrize(
    "unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name
)
def test_systemd_rates_the_isolation_of_a_unit_as_good(unit: Path, tmp_path: Path) -> None:
    copy = installed(tmp_path)

    done = subprocess.run(
        [
            *("systemd-analyze", "security", "--offline=yes", "--threshold=15"),
            str(copy / unit.name.replace("@.", "@1.")),
        ],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout[-300:] + done.stderr
    assert "NoNewPrivileges=yes\n" in unit.read_text()
    assert "ProtectSystem=strict\n" in unit.read_text()


def installed(folder: Path) -> Path:
    """Return a folder with the units for an existing program; skip without systemd."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    program = Path(sys.executable).with_name("photolog")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/photolog/bin/photolog", str(program))
        (folder / unit.name.replace("@.", "@1.")).write_text(text)
    return folder
