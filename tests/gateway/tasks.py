"""Put tasks into the lanes as dispatchers and workers would, without running any."""

from typing import Any

from domain.photo.plan import plan
from domain.pipeline.stages import ERASURE, TREE
from store.queue.dispatch import Dispatch
from store.queue.lanes import Claimed, Lanes
from tests.gateway.conftest import Gateway


async def dispatch(gateway: Gateway) -> None:
    """Plan every event in the log into prepared lanes."""
    await lanes_of(gateway)
    dispatcher = Dispatch(gateway.log, "dispatcher")
    await dispatcher.prepare(0)
    events = await dispatcher.read(0, count=1_000, block_ms=10)
    await dispatcher.commit([(r.position, plan(r.event, str(r.position))) for r in events])


async def lanes_of(gateway: Gateway, name: str = "worker") -> Lanes:
    lanes = Lanes(gateway.log, name, (*TREE, ERASURE))
    await lanes.prepare(0)
    return lanes


async def claim(gateway: Gateway, name: str = "worker") -> Claimed:
    (claimed,) = await (await lanes_of(gateway, name)).claim(0, 1)
    return claimed


async def events(gateway: Gateway, photo: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the photo's history as operators see it."""
    path = f"/api/photos/{photo['photoId']}/history"
    after = str(await gateway.log.end(0))
    return (await gateway.get(path, name="operator", after=after)).json()["items"]


async def pipeline_events(gateway: Gateway) -> list[dict[str, Any]]:
    """Return the type, data and actor of each event of the pipeline."""
    return [
        {
            "type": each.event.type,
            "actor": each.event.metadata.actor,
            **{name: getattr(each.event.data, name) for name in each.event.data.__struct_fields__},
        }
        async for each in gateway.log.scan(0)
        if each.event.type.startswith("pipeline.")
    ]
