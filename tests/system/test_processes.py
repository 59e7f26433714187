"""A role that ends by itself is reported and restarted; one that a test kills is not reported."""

import os
import signal
from pathlib import Path

import anyio
import pytest

from tests.system.clusters import DEADLINE_S
from tests.system.processes import Role, kept


async def until_started(role: Role, *, after: int | None = None) -> int:
    """Wait until the role has another process than ``after``, and return its id."""
    with anyio.fail_after(DEADLINE_S):
        while role.pid in (None, after):
            await anyio.sleep(0.02)
    assert role.pid is not None
    return role.pid


async def test_a_role_that_ends_by_itself_is_noticed(tmp_path: Path) -> None:
    wrong = {"PHOTOLOG_DATA": str(tmp_path), "PHOTOLOG_PORT": "none"}
    role = Role("gateway", "the-gateway", wrong, tmp_path / "role.log")

    async with kept([role]):
        await until_started(role, after=await until_started(role))

    assert role.unasked[0].startswith("the-gateway ended by itself with status ")
    assert "PHOTOLOG_PORT" in role.unasked[0]


async def test_a_role_that_is_killed_is_started_again(tmp_path: Path, valkey_url: str) -> None:
    settings = {"PHOTOLOG_DATA": str(tmp_path), "PHOTOLOG_REDIS_URL": valkey_url}
    role = Role("projector", "the-projector", settings, tmp_path / "role.log")

    async with kept([role]):
        first = await until_started(role)
        role.end(signal.SIGKILL)
        await until_started(role, after=first)

    assert role.unasked == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_role_that_nobody_of_the_test_has_stopped_is_noticed(
    tmp_path: Path, valkey_url: str, number: signal.Signals
) -> None:
    settings = {"PHOTOLOG_DATA": str(tmp_path), "PHOTOLOG_REDIS_URL": valkey_url}
    role = Role("projector", "the-projector", settings, tmp_path / "role.log")

    async with kept([role]):
        first = await until_started(role)
        os.kill(first, number)
        await until_started(role, after=first)

    assert len(role.unasked) == 1
