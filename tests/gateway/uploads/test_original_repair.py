"""Uploading the same bytes again restores a missing or altered original."""

import hashlib
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from gateway.http.limits import Limits
from store.blobs import damaged
from store.blobs.interface import original_key
from store.errors import Unavailable
from store.log import codec
from store.log.position import Position
from tests.gateway.conftest import Gateway, picture
from tests.gateway.processing import fail, process


async def _upload(gateway: Gateway, data: bytes, key: str | None) -> httpx.Response:
    return await gateway.client.post(
        "/api/photos/upload",
        files={"file": ("a.png", data)},
        headers={} if key is None else {"Idempotency-Key": key},
    )


def _original(gateway: Gateway) -> Path:
    """Return the path of the only original."""
    [original] = gateway.blobs.root.glob("originals/*/*")
    return original


def _alter(gateway: Gateway, data: bytes) -> None:
    path = _original(gateway)
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("first_key", "second_key", "status"),
    [(None, None, 200), (None, "again", 200), ("same", "same", 201)],
)
async def test_the_same_bytes_restore_a_missing_original(
    gateway: Gateway, first_key: str | None, second_key: str | None, status: int
) -> None:
    data = picture()
    photo = (await _upload(gateway, data, first_key)).json()
    original = _original(gateway)
    original.unlink()

    answer = await _upload(gateway, data, second_key)

    assert (answer.status_code, answer.json()["photoId"]) == (status, photo["photoId"])
    assert _original(gateway) == original
    assert original.read_bytes() == data


async def test_uploads_that_restore_one_original_together_never_remove_it(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = picture()
    await _upload(gateway, data, None)
    original = _original(gateway)
    _alter(gateway, data[:-1])
    deleted: list[str] = []
    delete = gateway.blobs.delete

    async def deleting(key: str) -> None:
        deleted.append(key)
        await delete(key)

    monkeypatch.setattr(gateway.blobs, "delete", deleting)
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(_upload, gateway, data, None)

    assert original.read_bytes() == data
    assert str(original.relative_to(gateway.blobs.root)) not in deleted


@pytest.mark.parametrize("keys", [(None, None), (None, "again"), ("same", "same")])
@pytest.mark.parametrize("cut", [0, 1])
async def test_the_same_bytes_replace_an_altered_original(
    gateway: Gateway, keys: tuple[str | None, str | None], cut: int
) -> None:
    data = picture()
    await _upload(gateway, data, keys[0])
    original = _original(gateway)
    _alter(gateway, bytes([data[0] ^ 1]) + data[1 + cut :])

    await _upload(gateway, data, keys[1])

    assert _original(gateway) == original
    assert original.read_bytes() == data


def _harm(path: Path, damage: str) -> None:
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(bytes(path.stat().st_size))


async def _history(gateway: Gateway, photo: dict[str, Any]) -> list[dict[str, Any]]:
    events = await gateway.log.read(Position.start(gateway.log.partition_of("alice")))
    wires = [msgspec.json.decode(codec.encode_wire(each.event, each.position)) for each in events]
    return [each for each in wires if each["data"]["photoId"] == photo["photoId"]]


@pytest.mark.parametrize("cause", ["missing", "altered"])
@pytest.mark.parametrize("keys", [(None, None), (None, "again"), ("same", "same")])
async def test_the_history_records_each_restored_original_and_its_actor(
    gateway: Gateway, cause: str, keys: tuple[str | None, str | None]
) -> None:
    data = picture()
    photo = (await _upload(gateway, data, keys[0])).json()
    before = (await gateway.log.load(photo["photoId"], "alice")).photo

    positions: list[str] = []
    for _ in range(2):
        _harm(_original(gateway), cause)
        positions.append((await _upload(gateway, data, keys[1])).json()["position"])
        await _upload(gateway, data, keys[1])  # it is intact: nothing to record

    uploaded, *restored = await _history(gateway, photo)
    assert [each["type"] for each in restored] == ["photo.original.restored"] * 2
    assert restored[-1]["data"] == {
        "photoId": photo["photoId"],
        "key": uploaded["data"]["key"],
        "fileSize": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "cause": cause,
    }
    assert restored[-1]["metadata"]["actor"] == uploaded["metadata"]["actor"]
    if keys[0] is None:
        assert positions == [each["id"] for each in restored]
    after = (await gateway.log.load(photo["photoId"], "alice")).photo
    assert before is not None
    assert after == msgspec.structs.replace(before, restorations=2)


class TestHealth:
    @pytest.fixture
    def limits(self) -> Limits:
        """Let health reread altered files each time; it does not search for damage itself."""
        return Limits(
            append_patience_s=1.0,
            linger_s=2.0,
            integrity_keep_s=0,
            probe_keep_s=0,
            min_free_bytes=0,
        )

    @pytest.fixture
    async def photo(self, gateway: Gateway) -> dict[str, Any]:
        """Return a processed photo with its ``data``."""
        data = picture()
        photo = (await _upload(gateway, data, None)).json()
        await gateway.get("/api/photos", after=await process(gateway, photo))
        return {**photo, "data": data}

    async def blobs(self, gateway: Gateway) -> tuple[str, str]:
        check = (await gateway.client.get("/health")).json()["checks"]["blobs"]
        return check["status"], check.get("reason", "")

    @pytest.mark.parametrize("damage", ["missing", "altered"])
    @pytest.mark.parametrize("seen_by", ["a download", "a worker", "an upload that fails"])
    async def test_health_reports_a_damaged_original_until_it_is_intact(
        self,
        gateway: Gateway,
        photo: dict[str, Any],
        seen_by: str,
        damage: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        _harm(_original(gateway), damage)
        if seen_by == "a worker":
            again = (await gateway.client.post(f"/api/photos/{photo['photoId']}/reprocess")).json()
            code = {"missing": "blob-missing", "altered": "blob-damaged"}[damage]
            await gateway.get("/api/photos", after=await fail(gateway, again, code=code))
        elif seen_by == "a download":
            await gateway.get(f"/api/photos/{photo['photoId']}/original")
        else:
            draft = gateway.blobs.draft

            def draft_of_new_blob(key: str, *, replace: bool = False) -> Any:
                if replace:
                    raise Unavailable("the disk is unavailable")
                return draft(key)

            with monkeypatch.context() as patch:
                patch.setattr(gateway.blobs, "draft", draft_of_new_blob)
                await _upload(gateway, photo["data"], None)

        told = await self.blobs(gateway)
        await _upload(gateway, photo["data"], None)

        assert told[0] == "degraded"
        assert told[1].startswith(f"1 original {damage}: upload the same bytes again, or restore")
        assert await self.blobs(gateway) == ("ok", "")

    @pytest.mark.parametrize("damage", ["missing", "altered"])
    @pytest.mark.parametrize("mended_by", ["a new job", "a deletion", "a restored file", "nothing"])
    async def test_health_reports_a_damaged_rendition_until_it_is_intact_or_replaced(
        self, gateway: Gateway, photo: dict[str, Any], damage: str, mended_by: str
    ) -> None:
        [thumbnail] = gateway.blobs.root.glob("renditions/*/*/*/thumbnail-150-*")
        whole = thumbnail.read_bytes()
        _harm(thumbnail, damage)
        await gateway.get(f"/api/photos/{photo['photoId']}/thumbnails/150")

        told = await self.blobs(gateway)
        if mended_by == "a new job":
            again = (await gateway.client.post(f"/api/photos/{photo['photoId']}/reprocess")).json()
            await process(gateway, again, shade=8)
        elif mended_by == "a deletion":
            await gateway.client.delete(f"/api/photos/{photo['photoId']}")
        elif mended_by == "a restored file":
            thumbnail.write_bytes(whole)

        assert told[0] == "degraded"
        assert told[1].startswith(f"1 rendition {damage}: process the photo again (`POST /api/")
        assert "upload" not in told[1]
        after = await self.blobs(gateway)
        assert after == (told if mended_by == "nothing" else ("ok", ""))

    async def test_health_reports_damage_that_another_process_has_noted(
        self, gateway: Gateway, photo: dict[str, Any]
    ) -> None:
        original = _original(gateway)
        original.unlink()
        key = str(original.relative_to(gateway.blobs.root))

        await damaged.note(
            gateway.log, key, "missing", photo_id=photo["photoId"], client_id="alice"
        )

        assert (await self.blobs(gateway))[1].startswith("1 original missing: ")

    async def test_superseded_files_and_those_of_deleted_photos_are_not_noted(
        self, gateway: Gateway, photo: dict[str, Any]
    ) -> None:
        key = str(_original(gateway).relative_to(gateway.blobs.root))
        await gateway.client.delete(f"/api/photos/{photo['photoId']}")

        for each in (key, "renditions/of/an/earlier/job"):
            await damaged.note(
                gateway.log, each, "missing", photo_id=photo["photoId"], client_id="alice"
            )

        assert await damaged.noted(gateway.log) == []


class TestAtOnce:
    """With the times of a production gateway."""

    async def test_damage_found_since_the_last_check_is_reported(self, gateway: Gateway) -> None:
        photo = (await gateway.upload(picture())).json()
        await gateway.get("/api/photos", after=photo["position"])
        before = (await gateway.client.get("/health")).json()["checks"]["blobs"]
        _original(gateway).unlink()

        await gateway.get(f"/api/photos/{photo['photoId']}/original")

        after = (await gateway.client.get("/health")).json()["checks"]["blobs"]
        assert "reason" not in before
        assert after["reason"].startswith("1 original missing: ")


async def test_other_bytes_restore_nothing(gateway: Gateway) -> None:
    await gateway.upload(picture())
    _original(gateway).unlink()

    other = (await gateway.upload(picture())).json()

    assert gateway.stored() == [original_key(other["photoId"])]
