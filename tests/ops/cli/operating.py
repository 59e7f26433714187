"""Run commands of operators in this process."""

import json
from collections.abc import Callable
from typing import Any

from click.testing import Result

from tests.ops.systems import System, run

REASON = ("--reason", "a bad batch")
Upload = Callable[..., list[str]]
Steer = Callable[..., None]


def told_by(system: System, *arguments: str) -> Result:
    return run("--data", str(system.data), *arguments)


def answer_of(system: System, *arguments: str) -> Any:
    done = told_by(system, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def dead_letters(system: System, *filters: str) -> list[dict[str, Any]]:
    told = told_by(system, "dead-letters", "list", "--json", *filters).stdout
    return [json.loads(line) for line in told.splitlines()]


def state_of(system: System, stage: str) -> str:
    stages = answer_of(system, "queues")["stages"]
    return next(each["state"] for each in stages if each["stage"] == stage)
