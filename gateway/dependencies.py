"""The dependencies of the gateway. The process that starts it builds them."""

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from litestar import Request, WebSocket
from litestar.datastructures import State

from gateway.access.access import Access
from gateway.http.auth import Principal, Tokens
from gateway.http.limits import Limits
from gateway.http.rate_limits import RateLimits
from gateway.observing import AnswerObserver, Exposition, nothing
from gateway.state.log_memory import LogMemory
from gateway.state.upload_keys import UploadKeys
from store.background import Background
from store.blobs.interface import Blobs
from store.log.log import Log
from store.observing import ignore
from store.sqlite.reader import Reader


async def _no_flaws() -> list[str]:
    return []


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the gateway uses.

    ``observe`` is called with every answer; ``exposition`` writes the body of ``/metrics``.
    ``background`` supervises the gateway's long-running tasks. ``limited`` is called with the name
    of a rate limit each time it rejects something. ``connections_note`` says why the gateway allows
    fewer connections than configured. ``known_flaws`` describes each bundled library with a known
    vulnerability in a sentence.
    """

    log: Log
    blobs: Blobs
    reader: Reader
    tokens: Tokens
    limits: Limits = Limits()
    rates: RateLimits = RateLimits()
    observe: AnswerObserver = ignore
    exposition: Exposition = nothing
    limited: Callable[[str], None] = ignore
    background: Background = msgspec.field(default_factory=Background)
    connections_note: str = ""
    log_memory: LogMemory = msgspec.field(default_factory=LogMemory)
    upload_keys: UploadKeys = msgspec.field(default_factory=UploadKeys)
    known_flaws: Callable[[], Coroutine[Any, Any, list[str]]] = _no_flaws


Asked = Request[Principal, Access, State]
"""An authenticated HTTP request: ``user`` sent it, and ``auth`` verified that."""

Socket = WebSocket[None, None, State]
"""A WebSocket; its route authenticates it, and reports errors in its own way."""
