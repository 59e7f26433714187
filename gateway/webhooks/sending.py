"""Send one request to a receiver that nobody vouches for.

| what a receiver may do | what happens |
|---|---|
| lead to a private address, or to another one after the check | see ``destinations`` |
| answer nothing, one byte at a time, or without end | the attempt ends after its time-out |
| answer with a large body | the first ``ANSWER_BYTES`` are read, then the connection is closed |
| redirect | the redirect is the answer; it is not followed |
| compress its answer, set cookies, ask for credentials | all of that is ignored |
"""

import re
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Literal, cast

import anyio
import httpcore
import httpx
import msgspec

from domain.webhooks.addresses import NotAllowed
from gateway.webhooks.destinations import Destinations

ANSWER_BYTES = 4_096
"""Bytes of an answer's body that are read."""

ANSWER_SHOWN = 500
"""Characters of it that the list of deliveries shows."""

IDLE_S = 15.0
"""How long an idle connection to a receiver stays open."""

LONGEST_WAIT_S = 86_400
"""The longest ``Retry-After`` that is understood."""

GONE = 410

BODY_S = 2.0
"""How long the beginning of a body is awaited."""

_SECONDS = re.compile(rb"[0-9]{1,9}")

Outcome = Literal["delivered", "rejected", "gone", "timeout", "unreachable", "not-allowed", "tls"]
"""The result of an attempt.

| outcome | meaning |
|---|---|
| ``delivered`` | the receiver answered 2xx |
| ``rejected`` | it answered something else |
| ``gone`` | it answered 410: it wants nothing any more |
| ``timeout`` | it did not answer in time |
| ``unreachable`` | no connection, one that breaks off, or an answer that is not HTTP |
| ``not-allowed`` | its name leads to addresses that webhooks may not reach |
| ``tls`` | its certificate is not valid for its name, or there is no common protocol |
"""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of an attempt; ``text`` begins the body of the answer, or says what failed."""

    outcome: Outcome
    seconds: float
    status: int | None = None
    text: str = ""
    retry_after_s: float = 0.0


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return how receivers are verified; ``ca_file`` has more certificates to trust.

    Raises:
        OSError: the file cannot be read, or holds no certificate.
    """
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


class Sender:
    """Sends the requests of one webhook to ``url``, over connections of its own."""

    def __init__(
        self,
        url: str,
        destinations: Destinations,
        tls: ssl.SSLContext,
        *,
        connections: int,
        timeout_s: float,
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=IDLE_S,
            network_backend=_Pinned(destinations, encrypted=url.startswith("https:")),
        )

    async def post(self, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """Send the body; never raises for what a receiver does, and never takes longer."""
        began = time.monotonic()
        status: int | None = None
        wait_s = 0.0
        outcome: Outcome = "timeout"
        text = f"no answer within {self._timeout_s:g} s"
        try:
            with anyio.fail_after(self._timeout_s):
                request = self._pool.stream("POST", self._url, headers=headers, content=body)
                async with request as response:
                    status, wait_s = response.status, _retry_after_s(response.headers)
                    text = await _beginning(response)
        except TimeoutError:
            pass
        except _Failed as error:
            outcome, text = error.outcome, str(error)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            cause = _first(error)
            is_tls = isinstance(cause, ssl.SSLError)
            outcome, text = "tls" if is_tls else "unreachable", str(cause) or type(cause).__name__
        return Answer(
            outcome=outcome if status is None else _outcome_of(status),
            seconds=time.monotonic() - began,
            status=status,
            text=_shown(text),
            retry_after_s=wait_s,
        )

    async def close(self) -> None:
        await self._pool.aclose()


class _Failed(Exception):
    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome: Outcome = outcome


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked. TLS begins with the name, on the same connection."""

    def __init__(self, destinations: Destinations, *, encrypted: bool) -> None:
        self._backend = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())
        self._destinations = destinations
        self._encrypted = encrypted

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 # as the base class has it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            address = await self._destinations.address_of(host, port, encrypted=self._encrypted)
        except NotAllowed as error:
            raise _Failed("not-allowed", str(error)) from error
        except (OSError, UnicodeError) as error:
            raise _Failed("unreachable", f"the host cannot be resolved: {error}") from error
        connect = self._backend.connect_tcp
        return _Closing(await connect(address, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class _Closing(httpcore.AsyncNetworkStream):
    """Closes the connection if the handshake is cancelled, which the library does not."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


async def _beginning(response: httpcore.Response) -> str:
    """Return the first bytes of the body as text; a receiver may send them as slowly as it likes.

    The status is the answer: what happens to the rest of the body does not matter.
    """
    body = b""
    with anyio.move_on_after(BODY_S), suppress(httpcore.NetworkError, httpcore.ProtocolError):
        async for chunk in response.aiter_stream():
            body += chunk[: ANSWER_BYTES - len(body)]
            if len(body) >= ANSWER_BYTES:
                break
    return body.decode("utf-8", "replace")


def _shown(text: str) -> str:
    """Return the beginning of the text without control characters."""
    return "".join(each if each.isprintable() else " " for each in text[:ANSWER_SHOWN]).strip()


def _outcome_of(status: int) -> Outcome:
    if 200 <= status < 300:
        return "delivered"
    return "gone" if status == GONE else "rejected"


def _retry_after_s(headers: Iterable[tuple[bytes, bytes]]) -> float:
    """Return the seconds of ``Retry-After``; 0 if it is missing or a date."""
    for name, value in headers:
        if name.lower() == b"retry-after" and _SECONDS.fullmatch(value):
            return min(float(value), LONGEST_WAIT_S)
    return 0.0


def _first(error: BaseException) -> BaseException:
    """Return the error that led to this one: libraries wrap it more than once."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return error
