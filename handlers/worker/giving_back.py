"""Give tasks back while this machine lacks a decoder, memory, threads or open files for them."""

import logging
from typing import NoReturn

from store.errors import Unavailable
from store.outage import Outage

logger = logging.getLogger("photolog.worker")


class GivenBack(Exception):
    """This machine cannot run the task now. Nothing is recorded; the task goes back to its lane."""


class Shortage:
    """What all attempts of a worker lack: logged once, until an attempt succeeds."""

    def __init__(self) -> None:
        self._outage = Outage(logger, "tasks are given back, because the machine lacks something")

    async def give_back(self, error: BaseException) -> NoReturn:
        """Raise GivenBack after a pause: else the worker would claim the task again at once."""
        await self._outage.wait(Unavailable(f"{error}" or type(error).__name__))
        raise GivenBack from error

    def over(self) -> None:
        self._outage.over()
