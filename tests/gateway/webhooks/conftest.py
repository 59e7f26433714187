"""A gateway whose webhooks may reach the loopback interface, and what delivers them."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import anyio
import httpx
import msgspec
import pytest

from domain.webhooks.addresses import parse_networks
from gateway.http.limits import Limits
from gateway.webhooks.deliverer import Deliverer
from gateway.webhooks.destinations import Destinations
from gateway.webhooks.secrets import WebhookSecrets
from gateway.webhooks.sending import tls_context
from gateway.webhooks.settings import WebhookBounds
from tests.gateway.conftest import DEADLINE_S, HOST, Gateway
from tests.gateway.webhooks.receivers import Receiver, receiving

BOUNDS = WebhookBounds(webhook_timeout_s=1.0, webhook_retry_longest_s=0.05)
TLS = tls_context(None)


@pytest.fixture
def limits() -> Limits:
    return Limits(
        append_patience_s=1.0, webhook_private_addresses=HOST, webhook_secret_overlap_s=60.0
    )


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    async with receiving() as made:
        yield made


class Delivering(Protocol):
    """A function that runs a process which delivers, while its block runs."""

    def __call__(
        self, bounds: WebhookBounds = BOUNDS, secrets: WebhookSecrets | None = None
    ) -> AbstractAsyncContextManager[Deliverer]: ...


@pytest.fixture
def delivering(gateway: Gateway) -> Delivering:
    numbers = iter(range(1, 100))

    @asynccontextmanager
    async def run(
        bounds: WebhookBounds = BOUNDS, secrets: WebhookSecrets | None = None
    ) -> AsyncGenerator[Deliverer]:
        deliverer = Deliverer(
            gateway.log,
            gateway.deps.reader,
            secrets or gateway.deps.webhook_secrets,
            Destinations(parse_networks(HOST)),
            TLS,
            owner=f"webhooks-{next(numbers)}",
            user_agent="Photolog/test",
            bounds=bounds,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(deliverer.run)
            yield deliverer
            deliverer.stop()

    return run


class Webhooks:
    """Calls the routes of webhooks."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def ask(
        self, method: str, path: str = "", body: Any = None, *, name: str = "alice", **query: str
    ) -> httpx.Response:
        return await self.gateway.client.request(
            method,
            f"/api/webhooks{path}",
            content=None if body is None else msgspec.json.encode(body),
            params=query or None,
            headers={**self.gateway.bearer(name), "Content-Type": "application/json"},
        )

    async def create(self, url: str, *, name: str = "alice", **more: Any) -> dict[str, Any]:
        answer = await self.ask("POST", "", {"url": url, **more}, name=name)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def get(self, webhook_id: str, *, name: str = "alice") -> dict[str, Any]:
        answer = await self.ask("GET", f"/{webhook_id}", name=name)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def deliveries(self, webhook_id: str) -> list[dict[str, Any]]:
        answer = await self.ask("GET", f"/{webhook_id}/deliveries")
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]

    async def until(self, webhook_id: str, **fields: Any) -> dict[str, Any]:
        """Wait until the webhook has these values, and return it."""
        with anyio.fail_after(DEADLINE_S):
            while True:
                found = await self.get(webhook_id)
                if all(found[name] == value for name, value in fields.items()):
                    return found
                await anyio.sleep(0.02)


@pytest.fixture
def webhooks(gateway: Gateway) -> Webhooks:
    return Webhooks(gateway)
