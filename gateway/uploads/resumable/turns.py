"""Let one request at a time use an upload of this gateway; a later one takes over.

A client that resumes has given up its earlier request, which may still seem to arrive here. So the
later request ends the reception of the earlier one, waits until the bytes that have arrived are
kept, and goes on from there. Bytes of two requests are never mixed. Only reception can be ended: an
upload that is being recorded is recorded first.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import anyio

from gateway.http.problems import Refused


class Turn:
    """The use of an upload by one request."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self._is_over = False
        self._scope: anyio.CancelScope | None = None

    def take_over(self) -> None:
        """End the reception, now or when it begins."""
        self._is_over = True
        if self._scope is not None:
            self._scope.cancel()

    @contextmanager
    def receiving(self) -> Generator[None]:
        """Receive bytes inside the block.

        Raises:
            Refused: ``upload-superseded``; a later request has taken over.
        """
        with anyio.CancelScope() as self._scope:
            if self._is_over:
                self._scope.cancel()
            yield
        ended, self._scope = self._scope.cancelled_caught, None
        if ended:
            raise Refused(
                "upload-superseded",
                "A later request for the same upload has ended this one. What had arrived is kept.",
            )


class Turns:
    """The uploads that requests use at the moment."""

    def __init__(self) -> None:
        self._now: dict[str, Turn] = {}

    @asynccontextmanager
    async def of(self, upload_id: str) -> AsyncGenerator[Turn]:
        """Use the upload inside the block, after ending its current use."""
        while (other := self._now.get(upload_id)) is not None:
            other.take_over()
            await other.done.wait()
        turn = self._now[upload_id] = Turn()
        try:
            yield turn
        finally:
            del self._now[upload_id]
            turn.done.set()
