"""Check, before a system starts, that log and photos are reachable and belong together.

``python -m ops.runtime.startup_check`` checks once; otherwise each role would find the same problem
and log it again and again.

It takes its settings from the environment. If an operator has to correct something, it prints what,
and exits with status ``WRONG``. If a server does not answer, it reports nothing: the roles wait.

It is a separate process, because its libraries would stay in the supervisor's memory: 23 MB.
"""

import asyncio
import contextlib
import logging
import sys

import anyio

from handlers.parent_death import bound_to_parent
from ops.config.loading import environment_of, load
from ops.config.settings import Settings
from ops.errors import UserError
from ops.event_format import say
from store.errors import Full, StoreError, Unavailable

WRONG = 78
"""EX_CONFIG of sysexits.h."""


async def check(settings: Settings, environment: dict[str, str]) -> None:
    """Run the check in a process of its own.

    Raises:
        UserError: the settings cannot work; the message says what to correct.
    """
    process = await asyncio.create_subprocess_exec(
        *bound_to_parent([sys.executable, "-P", "-m", "ops.runtime.startup_check"]),
        env=environment | environment_of(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        printed, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode == WRONG:
        raise UserError(printed.decode().strip())


async def _check(settings: Settings) -> None:
    from ops.maintenance import log_ownership  # noqa: PLC0415 # the supervisor needs none of them
    from ops.runtime import wiring  # noqa: PLC0415
    from ops.runtime.blobs import open_store  # noqa: PLC0415

    async with (
        wiring.open_log(settings, create=True) as log,
        open_store(settings, "up") as blobs,
    ):
        await log_ownership.check(log, blobs, setting=wiring.place_of_blobs(settings))


def main() -> int:
    logging.disable()  # the roles check the same, and log it
    try:
        with contextlib.suppress(Unavailable):
            anyio.run(_check, load().settings)
    except Full as error:
        say(f"PHOTOLOG_DATA: {error}: free some space, and start again")
        return WRONG
    except (UserError, StoreError) as error:
        say(str(error))
        return WRONG
    return 0


if __name__ == "__main__":
    sys.exit(main())
