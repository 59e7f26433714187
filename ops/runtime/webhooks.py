"""Build the delivery of webhooks."""

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version

from domain.webhooks.addresses import parse_networks
from gateway.webhooks.deliverer import Deliverer
from gateway.webhooks.destinations import Destinations
from gateway.webhooks.sending import tls_context
from gateway.webhooks.settings import WebhookBounds
from ops.config.settings import Settings
from ops.process.file_limit import raise_limit
from ops.runtime import wiring
from ops.runtime.webhook_key import webhook_secrets
from ops.telemetry import gauges
from ops.telemetry.failed_tasks import reporting
from ops.telemetry.telemetry import Telemetry
from projections.other_versions import reader_of
from store.keys import DEFAULT_PREFIX


@asynccontextmanager
async def open_webhooks(
    settings: Settings, owner: str, telemetry: Telemetry, *, prefix: str = DEFAULT_PREFIX
) -> AsyncGenerator[Deliverer]:
    """Open the delivery of webhooks, which reads the read model of this data folder.

    Raises:
        UserError: the key of webhooks is unusable.
    """
    raise_limit()
    secrets = webhook_secrets(settings)
    networks = parse_networks(settings.webhook_private_addresses)
    async with wiring.open_log(
        settings, patient=True, prefix=prefix, observe=telemetry.appended
    ) as log:
        reader = reader_of(wiring.generations(settings))
        deliverer = Deliverer(
            log,
            reader,
            secrets,
            Destinations(networks),
            tls_context(settings.webhook_ca_file),
            owner=f"{owner}:{uuid.uuid4().hex[:8]}",
            user_agent=f"Photolog/{version('photolog')}",
            bounds=wiring.bounds(WebhookBounds, settings),
            observe=telemetry.attempted,
            background=telemetry.background,
        )
        telemetry.watch(lambda: gauges.of_webhooks(deliverer))
        try:
            async with reporting(log, owner, telemetry.background):
                yield deliverer
        finally:
            reader.close()
