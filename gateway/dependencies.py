"""The dependencies of the gateway. The process that starts it builds them."""

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from litestar import Request, WebSocket
from litestar.datastructures import State

from gateway.access.access import Access
from gateway.access.oidc.config import Oidc
from gateway.http.auth import Principal, Tokens
from gateway.http.limits import Limits
from gateway.http.rate_limits import RateLimits
from gateway.observing import AnswerObserver, Exposition, nothing
from gateway.state.log_memory import LogMemory
from gateway.state.upload_keys import UploadKeys
from gateway.webhooks.secrets import WebhookSecrets
from store.background import Background
from store.blobs.interface import Blobs
from store.blobs.partials import Partials
from store.log.log import Log
from store.observing import ignore
from store.sqlite.reader import Reader


async def _no_flaws() -> list[str]:
    return []


class RunningSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting in force: its ``value`` as text, null if it is unset; a secret is masked.

    ``source`` is ``default``, or begins with ``environment``, ``file`` or ``option``. If
    ``photolog up`` has started the log, its URL comes from ``the embedded Valkey``.
    """

    name: str
    value: str | None
    source: str
    meaning: str


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the gateway uses.

    ``observe`` is called with every answer; ``exposition`` writes the body of ``/metrics``.
    ``background`` supervises the gateway's long-running tasks. ``limited`` is called with the name
    of a rate limit each time it rejects something. ``connections_note`` says why the gateway allows
    fewer connections than configured. ``settings`` are those that it runs with.
    ``oidc`` is the OpenID provider at which people sign in, if there is one.
    ``partials`` are the unfinished uploads of this machine.
    ``webhook_secrets`` derives the secrets that sign deliveries of webhooks.
    ``known_flaws`` describes each bundled library with a known vulnerability in a sentence.
    """

    log: Log
    blobs: Blobs
    partials: Partials
    reader: Reader
    tokens: Tokens
    webhook_secrets: WebhookSecrets
    limits: Limits = Limits()
    rates: RateLimits = RateLimits()
    oidc: Oidc | None = None
    observe: AnswerObserver = ignore
    exposition: Exposition = nothing
    limited: Callable[[str], None] = ignore
    background: Background = msgspec.field(default_factory=Background)
    connections_note: str = ""
    log_memory: LogMemory = msgspec.field(default_factory=LogMemory)
    upload_keys: UploadKeys = msgspec.field(default_factory=UploadKeys)
    settings: tuple[RunningSetting, ...] = ()
    known_flaws: Callable[[], Coroutine[Any, Any, list[str]]] = _no_flaws


Asked = Request[Principal, Access, State]
"""An authenticated HTTP request: ``user`` sent it, and ``auth`` verified that."""

Socket = WebSocket[None, None, State]
"""A WebSocket; its route authenticates it, and reports errors in its own way."""
