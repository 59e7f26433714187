"""Operators list clients, and find the ones closest to a quota."""

from tests.gateway.conftest import Gateway
from tests.gateway.routes.test_quotas import set_quota


async def test_the_clients_closest_to_a_quota_come_first(gateway: Gateway) -> None:
    await set_quota(gateway, photos=4)
    await gateway.upload()
    headers = gateway.bearer("operator")
    own = {"photos": 2, "bytes": 0, "jobs": 0}
    await gateway.client.put("/api/ops/clients/bob/quota", json=own, headers=headers)
    await gateway.upload(name="bob")
    end = str(await gateway.log.end(0))

    answer = await gateway.get("/api/ops/quotas?limit=2", name="auditor", after=end)

    found = answer.json()["items"]
    assert [(each["clientId"], each["share"]) for each in found] == [("bob", 0.5), ("alice", 0.25)]
    assert found[0]["limits"] == {"photos": 2, "bytes": 0, "jobs": 0}
    assert found[0]["usage"]["photos"] == 1
    assert answer.json()["total"]["photos"] == 2


async def test_operators_list_clients_page_by_page(gateway: Gateway) -> None:
    await set_quota(gateway, photos=9)
    await gateway.upload(name="bob")
    headers = gateway.bearer("operator")
    carol = await gateway.client.put(
        "/api/ops/clients/carol/quota", json={"jobs": 2}, headers=headers
    )
    after = carol.headers["X-Log-Position"]

    first = await gateway.client.get(
        "/api/ops/clients", params={"limit": 2, "after": after}, headers=headers
    )
    rest = await gateway.client.get(
        "/api/ops/clients", params={"cursor": first.json()["nextCursor"]}, headers=headers
    )

    items = [*first.json()["items"], *rest.json()["items"]]
    assert [each["clientId"] for each in items] == ["alice", "bob", "carol"]
    assert [each["usage"]["photos"] for each in items] == [0, 1, 0]
    assert [each["own"]["photos"] for each in items] == [9, None, None]
    assert first.json()["nextCursor"] == "bob"
    assert rest.json()["nextCursor"] is None


async def test_operators_find_clients_by_the_beginning_of_their_ids(gateway: Gateway) -> None:
    headers = gateway.bearer("operator")
    for client_id in ("ann", "ann-b", "ann.c", "anne", "zoe"):
        path = f"/api/ops/clients/{client_id}/quota"
        changed = await gateway.client.put(path, json={"jobs": 2}, headers=headers)
        assert changed.status_code == 200
    end = str(await gateway.log.end(0))

    async def found(query: str) -> list[str]:
        answer = await gateway.get(f"/api/ops/clients?{query}&after={end}", name="auditor")
        return [each["clientId"] for each in answer.json()["items"]]

    assert await found("prefix=ann") == ["ann", "ann-b", "ann.c", "anne"]
    assert await found("prefix=ann&cursor=ann-b&limit=1") == ["ann.c"]
    assert await found("prefix=anne") == ["anne"]
    assert await found("prefix=b") == []
