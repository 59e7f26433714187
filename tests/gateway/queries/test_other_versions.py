"""A gateway reads what its predecessor has left until the projector has folded its own."""

from contextlib import closing
from pathlib import Path

import pytest

from projections.generation import FORM
from projections.projector import Projector
from store.sqlite.connection import open_writer
from store.sqlite.generations import Generations
from tests.gateway.conftest import Gateway


@pytest.fixture
def projecting() -> bool:
    return False


async def test_what_an_earlier_read_model_has_is_served_until_the_new_one_is_complete(
    gateway: Gateway, tmp_path: Path
) -> None:
    generations = Generations(tmp_path / "read-model")
    photo_id = (await gateway.upload()).json()["photoId"]
    await Projector(gateway.log, generations).catch_up()
    path = generations.current()
    assert path is not None
    with closing(open_writer(path)) as db:
        db.execute("ALTER TABLE photos DROP COLUMN blurhash")
        db.execute(f"PRAGMA user_version = {FORM - 1}")

    of_photos = ("", f"/{photo_id}")
    others = ("/timeline", f"/{photo_id}/original", f"/{photo_id}/history")

    refused = [await gateway.get(f"/api/photos{each}") for each in of_photos]
    served = [await gateway.get(f"/api/photos{each}") for each in others]
    later = await gateway.upload()
    await Projector(gateway.log, generations).catch_up()
    after = await gateway.get("/api/photos")

    assert {(each.status_code, each.json()["code"]) for each in refused} == {(503, "unavailable")}
    assert {each.headers["Retry-After"] for each in refused} == {"2"}
    assert [each.status_code for each in served] == [200] * len(others)
    assert generations.current() != path
    assert [each["photoId"] for each in after.json()["items"]] == [
        later.json()["photoId"],
        photo_id,
    ]
