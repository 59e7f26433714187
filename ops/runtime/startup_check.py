"""Check, before a system starts, that log and photos are reachable and belong together.

``python -m ops.runtime.startup_check`` does so once. The roles of the system would ask the same,
and each of them would say so again and again.

Its settings are those of the environment. It says on standard output what somebody has to put
right, and ends with status ``WRONG`` then. What does not answer is left to the roles, which wait.

A process of its own, because what it needs would stay in the supervisor's memory: 23 MB.
"""

import asyncio
import contextlib
import logging
import os
import sys

import anyio

from ops.config.loading import environment_of, load
from ops.config.settings import Settings
from ops.errors import UserError
from ops.event_format import say
from ops.process.parent_death import leashed
from store.errors import Full, StoreError, Unavailable

WRONG = 78
"""EX_CONFIG of sysexits.h."""


async def ask(settings: Settings, environment: dict[str, str]) -> None:
    """Nothing, if no more is known against them; raises UserError."""
    process = await asyncio.create_subprocess_exec(
        *leashed([sys.executable, "-P", "-m", "ops.runtime.startup_check"]),
        env=environment | environment_of(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode == WRONG:
        raise UserError(said.decode().strip())


async def _join(settings: Settings) -> None:
    from ops.runtime import log_ownership, wiring  # noqa: PLC0415 # not for whoever asks
    from ops.runtime.blobs import open_store  # noqa: PLC0415

    async with (
        wiring.open_log(settings, create=True) as log,
        open_store(settings, "up") as blobs,
    ):
        await log_ownership.check(log, blobs, setting=wiring.place_of_blobs(settings))


def main() -> int:
    logging.disable()  # the roles look too, and say what is to be said
    try:
        with contextlib.suppress(Unavailable):
            anyio.run(_join, load(os.environ).settings)
    except Full as error:
        say(f"PHOTOLOG_DATA: {error}: make room, and start again")
        return WRONG
    except (UserError, StoreError) as error:
        say(str(error))
        return WRONG
    return 0


if __name__ == "__main__":
    sys.exit(main())
