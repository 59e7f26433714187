"""Make events for webhooks, and read those that arrived."""

from typing import Any

from tests.gateway.conftest import Gateway
from tests.gateway.webhooks.receivers import Request


async def upload(gateway: Gateway, **more: Any) -> str:
    """Upload a picture, and return the photo's id."""
    answer = await gateway.upload(**more)
    assert answer.status_code == 201, answer.text
    return answer.json()["photoId"]


def told(requests: list[Request]) -> list[tuple[str, str]]:
    """Return the type and the photo of each event."""
    return [(each.event["type"], each.event.get("subject", "")) for each in requests]
