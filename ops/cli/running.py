"""Ask the running gateway for its settings."""

import os

import anyio

from ops.client.client import connected, find
from ops.client.operations import Operations
from ops.config.settings import Settings
from ops.runtime.tokens import LOCAL_CLIENT


def settings_of(settings: Settings, url: str | None) -> bytes:
    """Return the answer of ``/api/ops/settings``, asked as an operator."""
    token = os.environ.get("PHOTOLOG_TOKEN")
    server = find(settings, url=url, token=token, client_id=LOCAL_CLIENT, role="operator")

    async def run() -> bytes:
        async with connected(server.url, server.token) as client:
            return await Operations(client).ask("GET", "settings")

    return anyio.run(run)
