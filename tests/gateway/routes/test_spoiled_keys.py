"""Foreign writes to Redis: a spoiled key is recreated, or an error names it."""

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from io import BytesIO
from typing import Any, get_args

import anyio
import httpx
import pytest

from domain.pipeline.control import LimitStage
from domain.pipeline.control_events import Limit, Rate
from gateway.access.cookies import COOKIE
from handlers.worker.settings import WorkerSettings
from handlers.worker.worker import Worker
from store.background import Background
from store.clients.credentials import Kind
from store.clients.key_uses import note_uses, read_uses
from store.errors import StoreError
from store.keys import Keys
from store.log.content_hashes import place_of
from store.log.control import ControlLog
from store.log.hash_splitting import HashSplitter
from store.log.log import Log
from store.queue import decoder_outages, liveness
from store.redis.spoiled import KINDS, kind_of
from store.webhooks.lease import Lease, Report, read_report
from store.webhooks.progress import (
    Delivery,
    Notes,
    Progress,
    read_deliveries,
    read_progress,
)
from tests.conftest import CONTEXT
from tests.gateway.conftest import Gateway, picture
from tests.handlers.workers import Scripted, types_when_ended

DEADLINE_S = 20.0
PAUSE_S = 0.05
STAGE, LANE = "validation", "normal"
QUICK = "quick_processing"
"""Fewer stages, which use the same kinds of keys."""

DIGEST = "ab" * 32
SHA256 = hashlib.sha256(picture()).hexdigest()
"""Of the photo that is uploaded again and again."""

KEY_ID = "a1"
WEBHOOK_ID = "b2"
OWNER = "webhooks-1"

KEYS: dict[str, Callable[[Keys, str, str], str]] = {
    "meta": lambda keys, _p, _c: keys.meta,
    "log": lambda keys, _p, _c: keys.log(0),
    "identity": lambda keys, _p, _c: keys.identity(0),
    "trimmed": lambda keys, _p, _c: keys.trimmed(0),
    "evicted": lambda keys, _p, _c: keys.evicted(0),
    "archiving": lambda keys, _p, _c: keys.archiving(0),
    "unarchived": lambda keys, _p, _c: keys.unarchived(0),
    "doubted": lambda keys, _p, _c: keys.doubted(0),
    "photo": lambda keys, photo, _c: keys.photo(0, photo),
    "pipeline": lambda keys, _p, _c: keys.pipeline(0),
    "credential": lambda keys, _p, _c: keys.credential(0, "session", DIGEST),
    "credentials": lambda keys, _p, _c: keys.credentials(0, "session", "alice"),
    "timers": lambda keys, _p, _c: keys.timers(0),
    "foreign": lambda keys, _p, _c: keys.foreign(0),
    "failing": lambda keys, _p, _c: keys.failing(0),
    "unconfined": lambda keys, _p, _c: keys.unconfined(0),
    "undecoding": lambda keys, _p, _c: keys.undecoding(0),
    "damaged": lambda keys, _p, _c: keys.damaged(0),
    "following": lambda keys, _p, _c: keys.following(0),
    "losses": lambda keys, _p, _c: keys.losses(0),
    "stages": lambda keys, _p, _c: keys.stages(0),
    "running": lambda keys, _p, _c: keys.running(0, "one"),
    "settled": lambda keys, _p, _c: keys.settled(0),
    "bucket": lambda keys, _p, _c: keys.bucket(STAGE),
    "allowance": lambda keys, _p, _c: keys.allowance(0, "requests", "alice"),
    "key_use": lambda keys, _p, _c: keys.key_use(0, KEY_ID),
    "sign_out": lambda keys, _p, _c: keys.sign_out(0, DIGEST),
    "webhooks": lambda keys, _p, _c: keys.webhooks(0),
    "webhook": lambda keys, _p, _c: keys.webhook(0, WEBHOOK_ID),
    "deliveries": lambda keys, _p, _c: keys.deliveries(0, WEBHOOK_ID),
    "command": lambda keys, _p, command: keys.command(0, "alice", command),
    "sha256": lambda keys, _p, _c: keys.sha256(0, "alice"),
    "hashes": lambda keys, _p, _c: keys.hashes(0, "alice", place_of(SHA256).bucket),
    "refolded": lambda keys, _p, _c: keys.refolded(0, "alice", "token"),
    "upload_session": lambda keys, _p, _c: keys.upload_session(0, "alice", "trip"),
    "usage": lambda keys, _p, _c: keys.usage(0, "alice"),
    "commands": lambda keys, _p, _c: keys.commands(0, "alice"),
    "clients": lambda keys, _p, _c: keys.clients(0),
    "lane": lambda keys, _p, _c: keys.lane(0, STAGE, LANE),
    "turns": lambda keys, _p, _c: keys.turns(0, STAGE, LANE),
    "waiting": lambda keys, _p, _c: keys.waiting(0, STAGE, LANE),
    "accounts": lambda keys, _p, _c: keys.accounts(0, LANE),
}
"""One key of each method of ``Keys``, by its name, for a photo and an idempotency key."""

NOT_KEYS = {"projected", "prefix", "lanes", "lane_of"}
"""A channel, no key, and many keys of one kind."""

TEXTS = ("", "garbage", "a 1-1", "inf", "\udcff")
WAYS = ("deleted", "of another type", *TEXTS)


def stays(name: str) -> bool:
    """Return whether a key of this name stays as it is if it is spoiled."""
    kind = kind_of(KEYS[name](Keys(), "x", "one"))
    return kind is not None and kind.remedy == "stays"


def test_every_kind_of_key_has_a_case() -> None:
    keys = Keys()
    named = {name for name in (*vars(Keys), *vars(keys)) if not name.startswith("_")}
    words = {_word(keys, key(keys, "x", "one")) for key in KEYS.values()}

    assert named - NOT_KEYS == set(KEYS)
    assert all(kind_of(key(keys, "x", "one")) is not None for key in KEYS.values())
    credentials = {f"{kind}{end}" for kind in get_args(Kind) for end in ("", "s")}
    assert words | credentials == set(KINDS)
    for kind in get_args(Kind):
        assert kind_of(keys.credential(0, kind, DIGEST)) is KINDS[kind]
        assert kind_of(keys.credentials(0, kind, "alice")) is KINDS[f"{kind}s"]


@pytest.fixture
async def background(gateway: Gateway) -> AsyncGenerator[Background]:
    """The background tasks of a worker beside the gateway that polls its lanes."""
    background = Background()
    worker = Worker(
        gateway.log,
        gateway.blobs,
        Scripted(),  # type: ignore[arg-type]
        consumer="one",
        settings=WorkerSettings(stalled_after_s=1.0, drain_s=1.0),
        background=background,
    )
    limit = Limit(rate=Rate(max=1_000, duration_ms=1_000))
    await ControlLog(gateway.log).execute(LimitStage(stage=STAGE, limit=limit), CONTEXT)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        yield background
        worker.stop()


async def ensure(redis: Any, key: str, kind: str) -> None:
    """Create the key in a valid form unless it has one."""
    if (await redis.type(key)).decode() != kind:
        await redis.delete(key)
        match kind:
            case "hash":
                await redis.hset(key, "field", "1")
            case "zset":
                await redis.zadd(key, {"member": 1})
            case "string":
                await redis.set(key, "1")
            case _:
                await redis.xadd(key, {"b": "x"})


async def spoil(redis: Any, key: str, kind: str, how: str) -> None:
    match how, kind:
        case "deleted", _:
            await redis.delete(key)
        case "of another type", _:
            await redis.delete(key)
            await (redis.rpush if kind == "string" else redis.set)(key, "x")
        case text, "hash":
            fields = [each for each in await redis.hkeys(key) if each]
            await redis.hset(key, mapping=dict.fromkeys(fields or ["x"], encoded(text)))
        case text, "zset":
            members = [encoded(text), b"alice\0" + encoded(text), b"alice\0AxAx:x", b"x:y:z"]
            score = {"inf": "inf", "-1": "-inf"}.get(text, 0)
            await redis.zadd(key, dict.fromkeys(members, score))
        case text, "string":
            await redis.set(key, encoded(text))
        case text, _:
            await redis.xadd(key, {"b": encoded(text)})


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


async def keyed(gateway: Gateway, data: bytes, key: str) -> httpx.Response:
    headers = {"Idempotency-Key": key}
    files = {"file": ("a.png", BytesIO(data))}
    return await gateway.client.post(
        "/api/photos/upload", files=files, data={"pipeline": QUICK}, headers=headers
    )


async def expect(gateway: Gateway, photos: int) -> httpx.Response:
    """Open a session, or change how many photos it expects."""
    return await gateway.client.put("/api/sessions/trip", json={"expected": photos})


async def browse(gateway: Gateway, cookie: str) -> httpx.Response:
    """Send a request as a browser that is signed in."""
    request = gateway.client.build_request("GET", "/api/me", headers={"Cookie": cookie})
    del request.headers["Authorization"]
    return await gateway.client.send(request)


class Uses:
    """Requests of a client, a browser and an operator that use the spoiled key."""

    def __init__(self, gateway: Gateway, key: str, *, stays: bool) -> None:
        self._gateway = gateway
        self._key = key
        self._stays = stays

    def check(self, answer: httpx.Response, *expected: int) -> bool:
        """Return whether the status is ``expected``; any other response must name the key."""
        if answer.status_code in expected:
            return True
        assert answer.status_code == 503, answer.text
        assert self._key in answer.json()["detail"], answer.text
        return False

    async def again(self, ask: Callable[[], Any], *expected: int) -> httpx.Response | None:
        """Retry until the status is ``expected``; return None if the key stays and was named."""
        with anyio.fail_after(DEADLINE_S):
            while not self.check(answer := await ask(), *expected):
                if self._stays:
                    return None
                await anyio.sleep(PAUSE_S)
        return answer


@pytest.mark.parametrize("name", [name for name in KEYS if not stays(name)])
async def test_a_spoiled_key_is_recreated(
    gateway: Gateway, background: Background, name: str
) -> None:
    """The same gateway and worker recover from each way of spoiling, one after the other."""
    for how in WAYS:
        await spoil_and_use(gateway, background, name, how)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("name", [name for name in KEYS if stays(name)])
async def test_a_spoiled_key_that_stays_is_named(
    gateway: Gateway, background: Background, name: str, how: str
) -> None:
    await spoil_and_use(gateway, background, name, how)


async def spoil_and_use(gateway: Gateway, background: Background, name: str, how: str) -> None:
    log, redis, data = gateway.log, gateway.log.redis, picture()
    command = f"command-{WAYS.index(how)}"
    session = await gateway.client.post("/api/login")
    cookie = f"{COOKIE}={session.cookies[COOKIE]}"
    gateway.client.cookies.clear()
    await expect(gateway, 1 + WAYS.index(how))
    first = (await keyed(gateway, data, command)).json()
    await types_when_ended(log, first["photoId"])
    await liveness.report_failing(log, "one", ["claims"])
    await liveness.report_unconfined(log, ["seccomp"])
    await decoder_outages.report(log, "one", "no-memory", before=None)
    await note_uses(log, {KEY_ID: 1})
    if name == "hashes":
        await HashSplitter(log, most=0).split(0)
    keys = await keys_like(log, KEYS[name](log.keys, first["photoId"], command))
    kind = kind_of(keys[0])
    assert kind is not None

    for key in keys:
        await ensure(redis, key, kind.type)
        await spoil(redis, key, kind.type, how)

    uses = Uses(gateway, keys[0], stays=kind.remedy == "stays")
    path = f"/api/photos/{first['photoId']}"
    second = await uses.again(lambda: gateway.upload(pipeline=QUICK), 201)
    if (name, how) != ("log", "deleted"):  # a photo without events still occupies its id
        await uses.again(lambda: keyed(gateway, data, command), 200, 201)
    await uses.again(lambda: gateway.upload(data, pipeline=QUICK), 200, 201)
    await uses.again(lambda: gateway.client.post(f"{path}/reprocess"), 202, 404, 409)
    await uses.again(lambda: expect(gateway, 101 + WAYS.index(how)), 200, 201)
    await uses.again(lambda: gateway.upload(pipeline=QUICK, sessionId="trip"), 201)
    await uses.again(lambda: gateway.client.get("/api/me"), 200)
    await uses.again(lambda: browse(gateway, cookie), 200, 401)
    await uses.again(lambda: gateway.client.post("/api/login"), 200)
    gateway.client.cookies.clear()
    with suppress(StoreError):
        await read_uses(log, [KEY_ID])
    await note_uses(log, {KEY_ID: 2})
    assert await read_uses(log, [KEY_ID]) == {KEY_ID: 2}
    await deliver(log)
    assert (await gateway.client.get("/health")).status_code in (200, 503)
    queues = await gateway.get("/api/ops/queues", name="operator")
    assert queues.status_code in (200, 503)
    if second is not None:
        types = await types_when_ended(log, second.json()["photoId"])
        assert types[-1] == "photo.processing.completed"
    assert background.failures == {}
    assert gateway.deps.background.failures == {}


async def deliver(log: Log) -> None:
    """Take the lease, note a delivery and read it back, as the process that delivers would."""
    lease, notes = Lease(log, OWNER), Notes(log, OWNER, 10)
    delivery = Delivery(
        position="0:1-0", type="t", attempt=1, at_ms=1, duration_ms=1, outcome="delivered"
    )
    with anyio.fail_after(DEADLINE_S):
        while not await tried(lambda: lease.take(Report())):
            await anyio.sleep(PAUSE_S)
        while not await tried(lambda: notes.note(WEBHOOK_ID, Progress(), delivery)):
            await anyio.sleep(PAUSE_S)
    assert await read_report(log) == Report()
    assert await read_progress(log, [WEBHOOK_ID]) == {WEBHOOK_ID: Progress()}
    assert (await read_deliveries(log, WEBHOOK_ID, 1)) == [delivery]
    await lease.give_back()


async def tried(work: Callable[[], Awaitable[bool]]) -> bool:
    with suppress(StoreError):
        return await work()
    return False


async def keys_like(log: Log, key: str) -> list[str]:
    """Return the key, and all other existing keys of its kind."""
    redis: Any = log.redis
    word = _word(log.keys, key)
    found = [each.decode() async for each in redis.scan_iter(match=f"{log.keys.prefix}:*")]
    return [key, *sorted(each for each in found if each != key and _word(log.keys, each) == word)]


def _word(keys: Keys, key: str) -> str:
    return key.removeprefix(f"{keys.prefix}:").split(":")[1 if "{" in key else 0]
