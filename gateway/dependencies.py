"""What the gateway works with. Built by who starts it; nothing here is made at import."""

import msgspec
from litestar import Request, WebSocket
from litestar.datastructures import State

from gateway.access import Access
from gateway.auth import Principal, Tokens
from gateway.limits import Limits
from gateway.observing import AnswerObserver, Exposition, nothing
from store.background import Background
from store.blobs import Blobs
from store.log import Log
from store.observing import ignore
from store.sqlite import Reader


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    """``observe`` is told of every answer; ``exposition`` writes what ``/metrics`` answers.

    ``background`` keeps the gateway's long-running tasks.
    """

    log: Log
    blobs: Blobs
    reader: Reader
    tokens: Tokens
    limits: Limits = Limits()
    observe: AnswerObserver = ignore
    exposition: Exposition = nothing
    background: Background = msgspec.field(default_factory=Background)


Asked = Request[Principal, Access, State]
"""An HTTP request that has passed the authentication: ``user`` asks, and ``auth`` let them in."""

Socket = WebSocket[None, None, State]
"""A WebSocket; its route finds out who asks, and says what is wrong in its own way."""
