"""Uploads, rooms and WebSockets accept the same session ids, and reject others in the same way."""

from typing import Any

import pytest

from tests.gateway.conftest import Gateway
from tests.gateway.listeners import talking

ACCEPTED = ("trip", "späť 2026/11: 日本 😀", "a" * 128)
REJECTED = ("a\nb", "s" * 129, "\u202eevil", "a\x00", "\u200b", "a\u2028b", "\ufeff")


async def answers(gateway: Gateway, session_id: str) -> list[dict[str, Any] | None]:
    """Return the problem of an upload, a room and a WebSocket with that id; None for success."""
    uploaded = await gateway.upload(sessionId=session_id)
    room = {"room": f"session:{session_id}"}
    async with gateway.client.stream("GET", "/api/events", params=room) as stream:
        entered = None if stream.status_code == 200 else await _json(stream)
    async with talking(gateway) as talk:
        identified = await talk.ask("identify", sessionId=session_id)
    return [
        None if uploaded.is_success else uploaded.json(),
        entered,
        None if identified["type"] == "identified" else identified,
    ]


async def _json(stream: Any) -> Any:
    await stream.aread()
    return stream.json()


@pytest.mark.parametrize("session_id", ACCEPTED)
async def test_a_session_id_of_printable_characters_is_accepted(
    gateway: Gateway, session_id: str
) -> None:
    assert await answers(gateway, session_id) == [None] * 3


@pytest.mark.parametrize("session_id", REJECTED)
async def test_another_session_id_is_rejected_in_the_same_words(
    shared_gateway: Gateway, session_id: str
) -> None:
    problems = [problem or {} for problem in await answers(shared_gateway, session_id)]

    assert {problem["code"] for problem in problems} == {"invalid-session"}
    [detail] = {problem["detail"] for problem in problems}
    assert detail.startswith("A sessionId has 1 to 128 printable characters")
