"""A cluster, a bucket and two hosts under random faults, with active clients and watchers.

Afterwards the checker compares the log, the bucket, both read models, the answers to clients and
the events that watchers got. The test prints the seed. To repeat it, and for a long run::

    PHOTOLOG_FAULTS_SEED=1234 uv run pytest tests/system/test_cluster_faults.py -n 0 -s
    PHOTOLOG_FAULTS_COUNT=300 uv run pytest tests/system/test_cluster_faults.py -n 0 -s

Three hundred faults take about ten minutes on an otherwise idle machine. ``-s`` shows every fault;
the logs of the roles are in the folders of the hosts, which ``--basetemp=FOLDER`` keeps.
"""

import itertools
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import httpx
import pytest

from tests.conftest import bucket_of
from tests.s3_servers import S3Server
from tests.system.checker import Findings
from tests.system.clients import Accepted, use
from tests.system.cluster_faults import FAULTS, whole
from tests.system.clusters import Cluster
from tests.system.faults import STAGE_TIMEOUT_S, STALLED_AFTER_S, torment
from tests.system.machines import Machine, Site, running, site
from tests.system.promises import broken_promises
from tests.system.quiescence import reconcile, stale_tables_of
from tests.system.read_models import differences, live_file
from tests.system.watchers import Watcher

CLIENTS = 6
WORKERS = 1
"""On each host."""

UPLOAD_EVERY_S = 0.4
FAULT_EVERY_S = 1.2
LEAVE_S = 4.0
CALM_S = 90.0
LOOK_EVERY_S = 0.1

SETTINGS = {
    "PHOTOLOG_PARTITIONS": "8",
    "PHOTOLOG_APPEND_WAIT_REPLICAS": "1",
    "PHOTOLOG_STALLED_AFTER_S": str(STALLED_AFTER_S),
    "PHOTOLOG_STAGE_TIMEOUT_S": str(STAGE_TIMEOUT_S),
    "PHOTOLOG_DECODERS": "1",
    "PHOTOLOG_SUPERSEDED_GRACE_S": "1",  # no removal is pending when the system is at rest
    "PHOTOLOG_LOG_LEVEL": "info",
}

MAY_STAY = ("originals/", "renditions/")
"""See ``test_faults``."""


async def test_nothing_is_lost_doubled_or_made_up_whatever_fails(
    servers: Cluster,
    tmp_path: Path,
    s3: S3Server,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seed = int(os.environ.get("PHOTOLOG_FAULTS_SEED") or random.randrange(2**32))
    count = int(os.environ.get("PHOTOLOG_FAULTS_COUNT") or 8)
    print(f"PHOTOLOG_FAULTS_SEED={seed} PHOTOLOG_FAULTS_COUNT={count}")
    for name in [name for name in os.environ if name.startswith("PHOTOLOG_")]:
        monkeypatch.delenv(name)

    bucket = bucket_of(s3.url, prefix)
    built = site(tmp_path, servers, s3, bucket, SETTINGS, workers=WORKERS)
    async with running(built), AsyncExitStack() as stack:
        watchers = await _watchers(built, stack, random.Random(seed))
        accepted = await _use_and_torment(built, random.Random(seed), count)
        await whole(built)
        before = await built.settled(CALM_S)
        _reconcile(built.machines[0], monkeypatch)
        found = await built.settled(CALM_S)
        await _heard(watchers, found)
        wrong = built.unasked + before.problems
        wrong += [key for key in before.stray if not key.startswith(MAY_STAY)]
        wrong += _disagreements(built, accepted, found, watchers)
        wrong += await _stale(built)

    ends = Counter(why["code"] for why in found.failed.values())
    events = sum(map(len, found.entries))
    print(f"{len(found.completed)} completed, {len(found.erased)} erased, failed: {dict(ends)}")
    print(f"{events} events; {sum(len(each.seen) for each in watchers)} shown to watchers")
    print(f"{sum(each.connections for each in watchers)} connections of {len(watchers)} watchers")
    print(f"unnamed until they were reconciled: {before.stray}")

    for each in wrong:
        print(f"WRONG: {each}")
    assert wrong == []


def _disagreements(
    built: Site, accepted: Accepted, found: Findings, watchers: list[Watcher]
) -> list[str]:
    """Return all disagreements of log, bucket, read models, clients and watchers."""
    wrong = found.wrong + broken_promises(accepted, found)
    for watcher in watchers:
        wrong += watcher.mistakes(found.entries)
    for machine in built.machines:
        file = live_file(machine.data)
        assert file is not None
        wrong += [f"{machine.url}: {each}" for each in differences(file, found)]
    wrong += [
        f"{photo}: failed though it is a picture: {why}"
        for photo, why in found.failed.items()
        if photo not in accepted.broken and why["category"] != "resource"
    ]
    return wrong


async def _use_and_torment(built: Site, chance: random.Random, count: int) -> Accepted:
    faulty, sober = random.Random(chance.random()), random.Random(chance.random())
    accepted = Accepted()
    over = anyio.Event()

    async def inflict() -> None:
        await torment(built, faulty, FAULTS, pause_s=FAULT_EVERY_S, count=count)
        over.set()

    def numbers() -> Iterator[int]:
        return itertools.takewhile(lambda _: not over.is_set(), itertools.count())

    def connect(name: str) -> httpx.AsyncClient:
        return _host_of(built, name, 0).client_of(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(inflict)
        await use(
            connect,
            sober,
            accepted,
            numbers=numbers(),
            clients=CLIENTS,
            pause_s=CLIENTS * UPLOAD_EVERY_S,
        )
    return accepted


async def _watchers(built: Site, stack: AsyncExitStack, chance: random.Random) -> list[Watcher]:
    """Watch each client's room on the host that the client does not use, and ``global`` twice."""
    tasks = await stack.enter_async_context(anyio.create_task_group())
    stack.callback(tasks.cancel_scope.cancel)
    watchers: list[Watcher] = []

    async def watch(machine: Machine, room: str, name: str, role: str) -> None:
        watcher = Watcher(f"{room} at {machine.url}", room)
        watchers.append(watcher)
        http = await stack.enter_async_context(machine.client_of(name, role))
        tasks.start_soon(watcher.follow, http, random.Random(chance.random()), LEAVE_S)

    for number in range(CLIENTS):
        name = f"client-{number}"
        await watch(_host_of(built, name, 1), f"client:{name}", name, "client")
    for machine in built.machines:
        await watch(machine, "global", "operator", "operator")
    with anyio.fail_after(CALM_S):
        while not all(each.begin for each in watchers):
            await anyio.sleep(LOOK_EVERY_S)
    return watchers


def _host_of(built: Site, client_id: str, other: int) -> Machine:
    number = int(client_id.rpartition("-")[2])
    return built.machines[(number + other) % len(built.machines)]


async def _heard(watchers: list[Watcher], found: Findings) -> None:
    """Wait until each watcher has seen the last events of its room, or until the deadline."""
    with anyio.move_on_after(CALM_S):
        while not all(
            {entry.position for entry in each.expected(found.entries)}
            <= {event["id"] for event in each.seen}
            for each in watchers
        ):
            await anyio.sleep(LOOK_EVERY_S)


async def _stale(built: Site) -> list[str]:
    """Return the tables of each host that differ from a new fold of the log."""
    async with built.log() as log:
        return [
            f"{each.url}: {table} is not what a fresh fold makes"
            for each in built.machines
            for table in await stale_tables_of(log, each.data, CALM_S)
        ]


def _reconcile(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        for name, value in machine.environment.items():
            patch.setenv(name, value)
        reconcile(machine.data)
