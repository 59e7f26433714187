"""Wake the loop that looks for tasks: there may be a task, a slot, or a change by an operator."""

import anyio


class Wakeup:
    """For one waiting loop, and any number of tasks that wake it."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        self._event.set()

    def renew(self) -> anyio.Event:
        """Return the event of the next wake-up. Renew before looking, or a wake-up is missed."""
        self._event = anyio.Event()
        return self._event
