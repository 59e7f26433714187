"""How the gateway is served: uvicorn, with the bounds that it lacks."""

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.limits import Limits


def protocol(header_patience_s: float) -> type[HttpToolsProtocol]:
    """HTTP/1.1 that closes a connection whose request line and headers do not come in time.

    uvicorn waits without end for them, and so a few slow peers could hold all connections.
    """

    class Bounded(HttpToolsProtocol):
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # as its parent does
            super().connection_made(transport)
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_came()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._await_head()

        def on_headers_complete(self) -> None:
            self._head_came()
            super().on_headers_complete()

        def _await_head(self) -> None:
            self._head_came()
            self._head_timer = self.loop.call_later(header_patience_s, self.transport.close)

        def _head_came(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return Bounded


def configuration(app: Any, limits: Limits, **options: Any) -> uvicorn.Config:
    """uvicorn's settings for the gateway; ``options`` are further ones: host, port, uds, fd."""
    return uvicorn.Config(
        app,
        http=protocol(limits.header_patience_s),
        lifespan="on",
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=limits.keep_alive_s,
        timeout_graceful_shutdown=limits.drain_s,
        limit_concurrency=limits.connections,
        **options,
    )
