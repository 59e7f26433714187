"""What the gateway works with. Built by who starts it; nothing here is made at import."""

from collections.abc import Awaitable, Callable

import msgspec
from litestar import Request, WebSocket
from litestar.datastructures import State

from gateway.access.access import Access
from gateway.http.auth import Principal, Tokens
from gateway.http.limits import Limits
from gateway.http.rate_limits import RateLimits
from gateway.limits.log_room import LogRoom
from gateway.observing import AnswerObserver, Exposition, nothing
from gateway.uploads.upload_keys import UploadKeys
from store.background import Background
from store.blobs.interface import Blobs
from store.log.log import Log
from store.observing import ignore
from store.sqlite.reader import Reader


async def _no_flaws() -> list[str]:
    return []


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    """``observe`` is told of every answer; ``exposition`` writes what ``/metrics`` answers.

    ``background`` keeps the gateway's long-running tasks. ``limited`` is called with the name of a
    rate limit each time it refuses something. ``connections_note`` says why there may be fewer
    connections than an operator has set. ``known_flaws`` names the bundled libraries that are known
    to be vulnerable, each in a sentence.
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
    log_room: LogRoom = msgspec.field(default_factory=LogRoom)
    upload_keys: UploadKeys = msgspec.field(default_factory=UploadKeys)
    known_flaws: Callable[[], Awaitable[list[str]]] = _no_flaws


Asked = Request[Principal, Access, State]
"""An HTTP request that has passed the authentication: ``user`` asks, and ``auth`` let them in."""

Socket = WebSocket[None, None, State]
"""A WebSocket; its route finds out who asks, and says what is wrong in its own way."""
