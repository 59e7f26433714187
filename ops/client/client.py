"""Connect the command line to a running Photolog over HTTP."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import msgspec

from gateway.http.auth import SCOPES
from ops.config.settings import Settings
from ops.errors import UserError
from ops.event_format import printable
from ops.process.lock import is_locked
from ops.runtime.tokens import default_ttl_s, mint
from ops.telemetry.metrics_server import METRICS, PATH

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 60.0
INTERNAL_ERROR = 500
TOO_MANY_REQUESTS = 429
LONGEST_RETRY_AFTER_S = 30.0
"""A command waits no longer than this before it retries."""

LIMITED_TRIES = 10
"""A request is retried at most this often while a rate limit rejects it."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The URL of a gateway, and the token to use there."""

    url: str
    token: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A problem document (RFC 9457)."""

    title: str
    status: int = 0
    code: str = ""
    detail: str = ""
    advice: str = ""
    trace_id: str = ""

    @classmethod
    def of(cls, response: httpx.Response) -> "Problem":
        """Read the problem document; another answer becomes a problem with its status."""
        try:
            return msgspec.json.decode(response.content, type=cls)
        except msgspec.MsgspecError:
            return cls(title=f"{response.status_code} {response.reason_phrase}")

    def __str__(self) -> str:
        """Return what is wrong and what to do; the title only if there is no detail.

        An internal error includes its trace id, which finds it in the server's logs.
        """
        text = self.detail or self.title
        if self.advice:
            text = (
                f"{text} {self.advice}" if text.endswith((".", "?")) else f"{text}. {self.advice}"
            )
        is_internal = self.status == INTERNAL_ERROR and self.trace_id
        return printable(f"{text} (traceId {self.trace_id})" if is_internal else text)


def find(
    settings: Settings, *, url: str | None, token: str | None, client_id: str, role: str
) -> Server:
    """Return the server at ``url``, or else the one that runs on the data folder.

    Without ``token``, the secret of the data folder signs one for ``client_id`` with all scopes:
    whoever has the secret may do everything. That token is never stored.

    Raises:
        UserError: there is no such server or secret.
    """
    found = url or url_in(settings)
    if not found.startswith(("http://", "https://")):
        raise UserError(f"{found!r} is not an HTTP URL: write it as http://127.0.0.1:3000")
    if not token:
        token = mint(settings, client_id, role, default_ttl_s(settings), SCOPES)
    return Server(url=found.rstrip("/"), token=token)


def url_in(settings: Settings) -> str:
    """Return the URL of the Photolog on the data folder; raises UserError if none runs there."""
    try:
        return (settings.folder / "url").read_text("utf-8")
    except FileNotFoundError as error:
        for gateway in sorted((settings.folder / METRICS).glob("gateway*")):
            return gateway.read_text("utf-8").strip().removesuffix(PATH)
        if is_locked(settings.folder):
            raise UserError(
                f"Photolog is starting on {settings.folder}, or stopping: try again when `photolog "
                "up` reports that it is ready"
            ) from error
        raise UserError(
            f"No Photolog runs on {settings.folder}: start it with `photolog up`, or name another "
            "with --data or --url"
        ) from error


@asynccontextmanager
async def connected(
    url: str, token: str | None = None, *, read_timeout_s: float = ANSWER_TIMEOUT_S
) -> AsyncGenerator[httpx.AsyncClient]:
    """Yield an HTTP client of the server, which waits and retries when a rate limit rejects it.

    Raises:
        UserError: a request within the block got no answer.
    """
    client = _RetryingClient(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=httpx.Timeout(
            ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, read=read_timeout_s, pool=None
        ),
        # A proxy from the environment cannot reach what listens on this machine.
        trust_env=urlsplit(url).hostname not in ("127.0.0.1", "::1", "localhost"),
    )
    async with client:
        try:
            yield client
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UserError(
                f"No Photolog answers at {url}: check the address, and start Photolog there with "
                "`photolog up`"
            ) from error
        except httpx.TransportError as error:
            raise UserError(
                f"The connection to {url} was lost: {error or type(error).__name__}"
            ) from error
        except httpx.InvalidURL as error:
            raise UserError(f"{url} is not a valid URL: {error}") from error


class _RetryingClient(httpx.AsyncClient):
    """Retries a request that a rate limit has rejected, after the time that the server names.

    A streamed body cannot be sent again, so its sender gets the rejection.
    """

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        response = await super().send(request, **options)
        for _ in range(LIMITED_TRIES):
            wait_s = retry_after_s(response)
            if response.status_code != TOO_MANY_REQUESTS or wait_s is None:
                break
            is_whole = isinstance(request.stream, httpx.ByteStream)
            if not is_whole or wait_s > LONGEST_RETRY_AFTER_S:
                break
            await response.aclose()
            await anyio.sleep(wait_s)
            response = await super().send(request, **options)
        return response


def retry_after_s(response: httpx.Response) -> float | None:
    """Return the seconds to wait that the server asks for; None if it names none."""
    asked = response.headers.get("retry-after", "")
    return float(asked) if asked.isascii() and asked.isdigit() else None


def checked(response: httpx.Response, *, hints: Mapping[str, str] | None = None) -> httpx.Response:
    """Return a successful response; raises UserError with the problem of any other.

    ``hints`` are additional advice of the command line, by the code of the problem.
    """
    if response.is_success:
        return response
    problem = Problem.of(response)
    hint = (hints or {}).get(problem.code)
    raise UserError(f"{problem} {hint}" if hint else str(problem))
