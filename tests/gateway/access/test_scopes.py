"""High priorities need a token with their scope."""

import pytest

from tests.gateway.conftest import Gateway


@pytest.mark.parametrize("priority", ["1", "2", "3"])
async def test_a_high_priority_needs_the_scope(gateway: Gateway, priority: str) -> None:
    refused = await gateway.upload(name="bob", priority=priority)

    assert (refused.status_code, refused.json()["code"]) == (403, "scope-required")
    assert "priority:high" in refused.json()["detail"]
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert gateway.stored() == []
    assert (await gateway.upload(name="alice", priority=priority)).status_code == 201
    assert (await gateway.upload(name="operator", priority=priority)).status_code == 201


async def test_other_priorities_need_no_scope(gateway: Gateway) -> None:
    for priority in ("4", "10"):
        assert (await gateway.upload(name="bob", priority=priority)).status_code == 201


async def test_reprocessing_with_a_high_priority_needs_the_scope(gateway: Gateway) -> None:
    photo = (await gateway.upload(name="bob")).json()
    path = f"/api/photos/{photo['photoId']}/reprocess"

    answer = await gateway.client.post(path, json={"priority": 3}, headers=gateway.bearer("bob"))

    assert (answer.status_code, answer.json()["code"]) == (403, "scope-required")
