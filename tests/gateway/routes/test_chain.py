"""``GET /api/photos/{id}/chain``, checked by the program of the auditing guide."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from store.log.log import Log
from tests.gateway.conftest import Gateway
from tests.gateway.processing import process
from tests.gateway.routes.test_photos import uploaded

GUIDE = (Path(__file__).parents[3] / "ops" / "guides" / "auditing.md").read_text("utf-8")
[PROGRAM] = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def checked(links: list[dict[str, Any]], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program of the guide on the links."""
    path = folder / "chain.json"
    path.write_text(json.dumps({"items": links, "nextCursor": None}))
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=False
    )


async def links_of(gateway: Gateway, tmp_path: Path) -> list[dict[str, Any]]:
    photo = await uploaded(gateway)
    end = await process(gateway, photo)
    answer = await gateway.get(f"/api/photos/{photo['photoId']}/chain", after=end)
    links: list[dict[str, Any]] = answer.json()["items"]
    assert len(links) > 3
    return links


async def test_a_stranger_can_check_the_chain(gateway: Gateway, log: Log, tmp_path: Path) -> None:
    links = await links_of(gateway, tmp_path)

    found = checked(links, tmp_path)

    named, *events, digest = found.stdout.splitlines()
    assert events[0].split()[2] == "photo.uploaded"
    assert len(events) == len(links)
    photo_id = msgspec.msgpack.decode(base64.b64decode(links[0]["body"]))["data"]["photoId"]
    assert named == f"photo {photo_id}"
    assert digest == (await log.load(photo_id, "alice")).digest


@pytest.mark.parametrize("forgery", ["change", "remove", "insert", "swap"])
async def test_a_forged_chain_is_noticed(gateway: Gateway, tmp_path: Path, forgery: str) -> None:
    links = await links_of(gateway, tmp_path)
    match forgery:
        case "change":
            body = base64.b64decode(links[1]["body"]).replace(b"photo", b"phony", 1)
            links[1] = {**links[1], "body": base64.b64encode(body).decode()}
        case "remove":
            del links[1]
        case "insert":
            links.insert(2, links[1])
        case _:
            links[1], links[2] = links[2], links[1]

    found = checked(links, tmp_path)

    assert found.returncode == 1
    assert "does not follow" in found.stderr


async def test_pages_of_the_chain_follow_on_their_cursors(gateway: Gateway, tmp_path: Path) -> None:
    photo = await uploaded(gateway)
    end = await process(gateway, photo)
    path = f"/api/photos/{photo['photoId']}/chain"
    whole = (await gateway.get(path, after=end)).json()["items"]

    paged: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = (await gateway.get(f"{path}?limit=2{cursor}")).json()
        paged += page["items"]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"

    assert paged == whole
    too_long = await gateway.get(f"{path}?limit=51")
    assert (too_long.status_code, too_long.json()["code"]) == (400, "invalid-limit")


async def test_pages_are_checked_as_one_chain(gateway: Gateway, tmp_path: Path) -> None:
    links = await links_of(gateway, tmp_path)
    paths = [tmp_path / "1.json", tmp_path / "2.json"]
    paths[0].write_text(json.dumps({"items": links[:2], "nextCursor": "0:1-2"}))
    paths[1].write_text(json.dumps({"items": links[2:], "nextCursor": None}))

    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths], capture_output=True, text=True, check=True
    )

    assert found.stdout == checked(links, tmp_path).stdout


async def test_a_page_alone_is_not_taken_for_the_chain(gateway: Gateway, tmp_path: Path) -> None:
    links = await links_of(gateway, tmp_path)
    photo_id = msgspec.msgpack.decode(base64.b64decode(links[0]["body"]))["data"]["photoId"]
    answer = await gateway.get(f"/api/photos/{photo_id}/chain?limit=2")
    path = tmp_path / "1.json"
    path.write_text(answer.text)

    for paths, said in (([path], answer.json()["nextCursor"]), ([], "name the files")):
        found = subprocess.run(
            [sys.executable, "-c", PROGRAM, *paths], capture_output=True, text=True, check=False
        )
        assert found.returncode == 1
        assert said in found.stderr


@pytest.mark.parametrize(
    ("damage", "said"),
    [("lost", "event 2: the log has nothing at {}"), ("garbled", "event 2: what is at {} is not")],
)
async def test_a_broken_chain_is_given_as_it_is(
    gateway: Gateway, log: Log, tmp_path: Path, damage: str, said: str
) -> None:
    whole = await links_of(gateway, tmp_path)
    photo_id = msgspec.msgpack.decode(base64.b64decode(whole[0]["body"]))["data"]["photoId"]
    key, place = log.keys.log(log.partition_of("alice")), whole[1]["position"]
    entry_id = place.partition(":")[2]
    entries: Any = await log.redis.xrange(key)
    await log.redis.delete(key)
    for each, fields in entries:
        if each.decode() != entry_id:
            await log.redis.xadd(key, fields, id=each)
        elif damage == "garbled":
            await log.redis.xadd(key, {**fields, b"b": b"\xc1junk"}, id=each)

    answer = await gateway.get(f"/api/photos/{photo_id}/chain")

    broken = {"lost": None, "garbled": base64.b64encode(b"\xc1junk").decode()}[damage]
    assert answer.status_code == 200
    assert answer.json()["items"] == [whole[0], {**whole[1], "body": broken}, *whole[2:]]
    found = checked(answer.json()["items"], tmp_path)
    assert (found.returncode, len(found.stdout.splitlines())) == (1, 2)
    assert found.stderr.startswith(said.format(place))


def test_a_problem_in_place_of_a_chain_is_told(tmp_path: Path) -> None:
    path = tmp_path / "chain.json"
    path.write_text(json.dumps({"code": "photo-not-found", "detail": "There is no such photo."}))

    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, check=False
    )

    assert found.stderr == f"{path} has no chain: There is no such photo.\n"
