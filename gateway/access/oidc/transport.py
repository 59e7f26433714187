"""Talk to the provider: over TLS, bounded in time and size, without following redirects.

The first request imports the HTTP client: gateways without a provider start sooner without it.
"""

import ssl
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from gateway.access.oidc.config import Oidc, is_local
from gateway.access.oidc.errors import unavailable

if TYPE_CHECKING:
    import httpx

Answer = dict[str, Any]
"""The JSON object of an answer."""

Credentials = tuple[str, str]
"""The name and the password of Basic authentication."""


class Transport:
    """Requests to one provider. Each raises Refused, ``provider-unavailable``."""

    def __init__(self, config: Oidc) -> None:
        self._config = config
        self._slots = anyio.Semaphore(config.requests_at_once)

    async def get(self, url: str, headers: dict[str, str] | None = None) -> Answer:
        """Return the answer to a GET."""
        status, answer = await self._send("GET", url, headers=headers or {})
        if status != HTTPStatus.OK:
            raise self._failed(f"{_address(url)} answered with status {status}")
        return answer

    async def post(
        self, url: str, form: dict[str, str], credentials: Credentials | None
    ) -> tuple[int, Answer]:
        """Return the status and the answer to a form, also if it is an error."""
        return await self._send("POST", url, data=form, auth=credentials)

    async def _send(self, method: str, url: str, **request: Any) -> tuple[int, Answer]:
        import httpx  # noqa: PLC0415

        if not url.startswith("https://") and not (self._config.is_local and is_local(url)):
            raise self._failed(f"{_address(url)} is not an https:// address")
        # Without a coding: a small answer cannot grow into a large one.
        request["headers"] = {
            **request.get("headers", {}),
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        # Loading the certificates takes a moment, which is not the provider's.
        verify = self._tls if url.startswith("https://") else False
        try:
            with anyio.fail_after(self._config.timeout_s):
                async with (
                    self._slots,
                    httpx.AsyncClient(verify=verify, timeout=self._config.timeout_s) as client,
                    client.stream(method, url, **request) as response,
                ):
                    return response.status_code, await self._object(response)
        except TimeoutError as error:
            reason = f"{_address(url)} did not answer within {self._config.timeout_s:g} s"
            raise self._failed(reason) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._failed(f"{_address(url)} cannot be reached: {error}") from error

    async def _object(self, response: "httpx.Response") -> Answer:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._config.answer_bytes:
                raise self._failed(f"{_address(str(response.url))} sends too large an answer")
        try:
            return msgspec.json.decode(body, type=Answer)
        except msgspec.MsgspecError as error:
            reason = f"{_address(str(response.url))} does not answer with a JSON object"
            raise self._failed(f"{reason} (status {response.status_code})") from error

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._config.ca_file)

    def _failed(self, reason: str) -> Exception:
        return unavailable(f"Signing in is not possible now: {reason}.", self._config.retry_s)


def _address(url: str) -> str:
    """Return the address without its query, which may hold a secret."""
    return url.partition("?")[0][:200]
