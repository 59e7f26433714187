"""Shared by tests of decoders. By default, files in one folder count as one photo."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from handlers.decoder.pool import DecoderPool
from handlers.stage import Output, StageFailure
from tests.handlers.failing_stages import Seen

REGISTRY = "tests.handlers.failing_stages:TABLE"


async def run(
    pool: DecoderPool, stage: str, path: Path, *, of: str = "", timeout_s: float = 20
) -> Output:
    return await pool.run(
        stage=stage, affinity=of or f"{path.parent}", source=path, timeout_s=timeout_s
    )


async def seen(pool: DecoderPool, path: Path, *, of: str = "") -> Seen:
    result = (await run(pool, "look", path, of=of)).result
    assert isinstance(result, Seen)
    return result


async def failure(
    pool: DecoderPool, stage: str, path: Path, *, of: str = "", timeout_s: float = 20
) -> StageFailure:
    with pytest.raises(StageFailure) as failed:
        await run(pool, stage, path, of=of, timeout_s=timeout_s)
    return failed.value


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.002)
