"""Read ``ops/deploy`` and the guide as their readers do: Docker, compose, systemd, operators."""

import re
import shlex
from pathlib import Path
from typing import Any

import click
import yaml

from ops.cli.main import main

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "ops" / "deploy"
UNITS = sorted([*(DEPLOY / "systemd").glob("*.service"), *(DEPLOY / "systemd").glob("*.socket")])
GUIDE = (ROOT / "ops" / "guides" / "operating.md").read_text("utf-8")
DOCKERFILE = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text("utf-8"))
"""The Dockerfile, one instruction a line."""

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ROLES = ("gateway", "projector", "worker", "archiver", "webhooks")

_VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")
_COMMAND = re.compile(r"(?:^|\$\(|bin/|exec \w+ |[|&] )photolog (.+?)(?=$|[|>)]|&&)", re.MULTILINE)


def instructions(name: str) -> list[str]:
    """Return what follows ``name`` in each such line of the Dockerfile."""
    return re.findall(rf"^{name} +(.+)$", DOCKERFILE, re.MULTILINE)


def image_environment() -> dict[str, str]:
    """Return the variables of a container of the image."""
    last = instructions("ENV")[-1]
    return dict(word.split("=", 1) for word in shlex.split(last))


def required(text: str) -> set[str]:
    """Return the variables without which compose refuses to start."""
    return {name for name, kind, _ in _VARIABLE.findall(text) if kind == "?"}


def filled(text: str, values: dict[str, str]) -> str:
    """Return ``text`` as compose reads it with ``values`` as the environment."""

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        if kind == "-":
            return values.get(name) or default
        return values[name]

    return _VARIABLE.sub(value, text)


def environment_of(service: str, values: dict[str, str]) -> dict[str, str]:
    """Return the variables that compose gives to the containers of the service."""
    given: dict[str, str] = SERVICES[service].get("environment", {})
    return {name: filled(value, values) for name, value in given.items()}


def blocks(text: str) -> list[str]:
    """Return the shell commands that a page shows."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    """Return the part of the guide under that heading."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#+ )", GUIDE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def commands_in_guide() -> list[list[str]]:
    """Return the arguments of each ``photolog`` command in the guide."""
    lines = [re.sub(r'"\$\([^()]*\)"', "RESULT", block) for block in blocks(GUIDE)]
    shown = [found for block in lines for found in _COMMAND.findall(block)]
    named = re.findall(r"`photolog ([^`…]+)`", GUIDE)
    return [shlex.split(line) for line in (*shown, *named)]


def commands_started() -> list[list[str]]:
    """Return the arguments of ``photolog`` in the image, in compose and in the units."""
    image = [yaml.safe_load(line) for line in instructions("CMD")]
    compose = [SERVICES[role]["command"] for role in ROLES]
    units = [
        shlex.split(line)
        for unit in UNITS
        for line in re.findall(
            r"^ExecStart=/opt/photolog/bin/photolog (.+)$", unit.read_text(), re.MULTILINE
        )
    ]
    return [*image, *compose, *units]


def parse(arguments: list[str]) -> None:
    """Parse the arguments as the command line does before it runs a command.

    Raises:
        click.UsageError: the command line does not accept them.
    """
    command: click.Command = main
    context = command.make_context("photolog", list(arguments))
    while isinstance(command, click.Group):
        named = context._protected_args  # pyright: ignore[reportPrivateUsage] # click has no other
        _, found, rest = command.resolve_command(context, [*named, *context.args])
        assert found is not None
        command = found
        context = command.make_context(command.name, rest, parent=context)
